"""An hour's status is what its footer says, and agrees with what the publisher means by it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.publish.codec import FormatError, encode_facts, encode_hour
from millrace.publish.expire import HourExpired, advance_horizon, expire_hour
from millrace.publish.fold import fold_hour
from millrace.publish.hour import HourState
from millrace.publish.layout import published_key
from millrace.publish.settled import SETTLED_AFTER
from millrace.publish.version import Version
from millrace.read.status import is_expired, status_in, status_of
from millrace.store import StoredObject
from tests.unit.publish.builders import DATASET, HOUR, land, new_store, rows, seal

KEY = published_key(DATASET.prefix, HOUR)


def test_the_life_of_an_hour() -> None:
    store = new_store()
    seen = [status_of(store, DATASET, HOUR)]

    def fold() -> None:
        fold_hour(store, DATASET, HOUR)
        seen.append(status_of(store, DATASET, HOUR))

    land(store, Version(0, 1, 0), {"a": 1, "b": 2})
    fold()
    seal(store, Version(0, 1, 0))
    fold()
    land(store, Version(0, 1, 1), {"a": 5})
    fold()
    seal(store, Version(0, 1, 1))
    fold()
    expire_hour(store, DATASET, HOUR)
    seen.append(status_of(store, DATASET, HOUR))
    assert [one.status for one in seen] == [
        "unpublished",
        "provisional",
        "final",
        "amending",
        "final",
        "expired",
    ]
    assert [one.rows for one in seen] == [0, 2, 2, 2, 2, 0]
    revisions = [one.rev for one in seen]
    assert revisions == sorted(set(revisions))
    assert [one.is_final for one in seen] == [one.status == "final" for one in seen]


states = st.builds(
    lambda versions, final, expired: HourState(
        rows=rows(*((f"k{n}", n, version) for n, version in enumerate([] if expired else versions))),
        final=final,
        rev=3,
        expired=expired,
        quality={"passed": True},
    ),
    st.lists(st.integers(0, 2**62), max_size=5),
    st.none() | st.integers(0, 2**62),
    st.booleans(),
)


@given(states)
def test_the_footer_alone_says_what_the_whole_hour_says(state: HourState) -> None:
    store = new_store()
    stored = StoredObject(encode_hour(state, DATASET), "etag", store.now, store.now)
    status = status_in(stored, KEY, HOUR, atomic=True)
    assert (status.status, status.rev, status.rows) == (state.status, 3, state.rows.height)
    assert status.quality == {"passed": True}
    assert is_expired(stored.body, KEY) == state.expired


def test_where_writes_are_not_atomic_a_final_hour_must_have_settled() -> None:
    store = new_store(atomic=False)
    land(store, Version(0, 1, 0), {"a": 1})
    seal(store, Version(0, 1, 0))
    fold_hour(store, DATASET, HOUR)
    store.now += SETTLED_AFTER
    fresh = status_of(store, DATASET, HOUR)
    assert (fresh.status, fresh.settled, fresh.is_final) == ("final", False, False)
    store.now += timedelta(seconds=1)
    assert status_of(store, DATASET, HOUR).is_final


def test_an_hour_behind_the_horizon_is_refused_whether_its_object_is_still_there_or_not() -> None:
    store = new_store()
    expire_hour(store, DATASET, HOUR)
    advance_horizon(store, DATASET, HOUR + timedelta(hours=1))
    for _ in range(2):
        with pytest.raises(HourExpired, match="gone for good"):
            status_of(store, DATASET, HOUR)
        store.delete(KEY)


@pytest.mark.parametrize("body", [b"", b"no Parquet", encode_facts(rows(("a", 1, 1)), DATASET)])
def test_what_is_no_published_hour_is_an_error_that_names_it(body: bytes) -> None:
    store = new_store()
    store.put(KEY, body)
    with pytest.raises(FormatError, match=KEY):
        status_of(store, DATASET, HOUR)
