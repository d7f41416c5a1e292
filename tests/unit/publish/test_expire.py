from datetime import timedelta

import pytest

from millrace.publish.expire import (
    HourExpired,
    advance_horizon,
    expire_hour,
    read_horizon,
    refuse_expired,
)
from millrace.publish.fold import fold_hour
from millrace.publish.layout import published_key
from millrace.publish.version import Version
from millrace.store import MemoryStore, StoreUnavailable
from tests.unit.publish.builders import DATASET, HOUR, land, landing, new_store, published, seal


def test_an_expired_hour_has_no_rows_and_says_so() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    fold_hour(store, DATASET, HOUR)
    assert expire_hour(store, DATASET, HOUR)
    hour = published(store)
    assert (hour.status, hour.rows.height, hour.rev) == ("expired", 0, 2)
    assert not expire_hour(store, DATASET, HOUR)
    assert published(store).rev == 2


def test_facts_that_land_after_the_expiry_are_absorbed() -> None:
    store = new_store()
    assert expire_hour(store, DATASET, HOUR)  # also an hour that was never published
    land(store, Version(0, 1, 0), {"a": 1})
    seal(store, Version(0, 1, 0))
    assert fold_hour(store, DATASET, HOUR).status == "expired"
    assert landing(store) == []
    assert published(store).rows.is_empty()


def test_the_horizon_never_moves_back() -> None:
    store = new_store()
    assert read_horizon(store, DATASET) is None
    assert advance_horizon(store, DATASET, HOUR) == HOUR
    assert advance_horizon(store, DATASET, HOUR - timedelta(hours=3)) == HOUR
    assert advance_horizon(store, DATASET, HOUR + timedelta(hours=1)) == HOUR + timedelta(hours=1)
    assert read_horizon(store, DATASET) == HOUR + timedelta(hours=1)


def test_an_hour_before_the_horizon_is_not_published_again_even_when_its_empty_object_is_gone() -> None:
    store = new_store()
    expire_hour(store, DATASET, HOUR)
    advance_horizon(store, DATASET, HOUR + timedelta(hours=1))
    store.delete(published_key(DATASET.prefix, HOUR))
    land(store, Version(0, 1, 0), {"a": 1})
    assert fold_hour(store, DATASET, HOUR).status == "expired"
    assert landing(store) == []
    assert published_key(DATASET.prefix, HOUR) not in store.objects


def test_readers_are_told_from_which_hour_on_there_is_something_to_read() -> None:
    refuse_expired(None, DATASET, HOUR)
    refuse_expired(HOUR, DATASET, HOUR)
    with pytest.raises(HourExpired, match="keeps hours from 2026-03-29 02h UTC"):
        refuse_expired(HOUR + timedelta(hours=1), DATASET, HOUR)


class NoWrites(MemoryStore):
    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        raise StoreUnavailable("away")


def test_an_expiry_that_the_store_does_not_confirm_is_an_error() -> None:
    with pytest.raises(StoreUnavailable, match="could not be expired in 8 attempts; the last: away"):
        expire_hour(NoWrites(), DATASET, HOUR, pause=lambda _: None)
    with pytest.raises(StoreUnavailable, match="could not be advanced"):
        advance_horizon(NoWrites(), DATASET, HOUR, pause=lambda _: None)
