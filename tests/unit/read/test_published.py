"""Spans of published hours, and the freshest totals beside a fold that is at work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.publish.expire import HourExpired, advance_horizon, expire_hour
from millrace.publish.fold import fold_hour
from millrace.publish.generations import create_generation
from millrace.publish.layout import published_key
from millrace.publish.version import Version
from millrace.read.freshest import freshest_totals
from millrace.read.published import AT_ONCE, iter_hours, read_hours
from millrace.store import MemoryStore, StoredObject
from tests.unit.publish.builders import DATASET, HOUR, land, new_store, seal

ONE = timedelta(hours=1)


def publish(store: MemoryStore, number: int, n: int, *, final: bool = True) -> None:
    hour = HOUR + number * ONE
    land(store, Version(0, 1, 0), {"a": n}, hour=hour)
    if final:
        seal(store, Version(0, 1, 0), hour)
    fold_hour(store, DATASET, hour)


def test_a_span_is_read_in_order_from_its_start_to_before_its_end() -> None:
    store = new_store()
    for number in (0, 1, 2, 5, 6):
        publish(store, number, number)
    store.put(f"{DATASET.prefix}/2026/03/29/02/notes.txt", b"foreign")
    found = read_hours(store, DATASET, HOUR + ONE, HOUR + 6 * ONE)
    assert found.columns == ["key", "n"]
    assert found["n"].to_list() == [1, 2, 5]
    assert read_hours(store, DATASET, HOUR + 3 * ONE, HOUR + 5 * ONE).columns == ["key", "n"]


def test_more_hours_than_are_read_at_once_keep_their_order() -> None:
    store = new_store()
    wanted = list(range(AT_ONCE + 3))
    for number in wanted:
        publish(store, number, number)
    assert read_hours(store, DATASET, HOUR, HOUR + 100 * ONE)["n"].to_list() == wanted


def test_only_final_hours_when_asked_and_the_others_are_named() -> None:
    store = new_store()
    publish(store, 0, 1)
    publish(store, 1, 2, final=False)
    expire_hour(store, DATASET, HOUR + 2 * ONE)
    read = list(iter_hours(store, DATASET, HOUR, HOUR + 3 * ONE, only_final=True))
    assert [(one.status.status, one.rows is None) for one in read] == [
        ("final", False),
        ("provisional", True),
        ("expired", True),
    ]
    assert read_hours(store, DATASET, HOUR, HOUR + 3 * ONE, only_final=True)["n"].to_list() == [1]
    assert read_hours(store, DATASET, HOUR, HOUR + 3 * ONE)["n"].to_list() == [1, 2]


def test_a_span_that_begins_before_the_horizon_is_refused() -> None:
    store = new_store()
    advance_horizon(store, DATASET, HOUR + ONE)
    with pytest.raises(HourExpired, match="keeps hours from 2026-03-29 02h"):
        read_hours(store, DATASET, HOUR, HOUR + 2 * ONE)
    with pytest.raises(HourExpired):
        freshest_totals(store, DATASET, HOUR)


def freshest(store: MemoryStore) -> dict[str, int]:
    return dict(freshest_totals(store, DATASET, HOUR).select("key", "n").iter_rows())


def test_the_freshest_totals_are_the_join_of_published_and_landed() -> None:
    store = new_store()
    assert freshest(store) == {}
    land(store, Version(0, 1, 0), {"a": 1, "b": 1})
    fold_hour(store, DATASET, HOUR)
    land(store, Version(0, 1, 2), {"a": 3})
    land(store, Version(0, 1, 1), {"a": 2, "c": 2})
    seal(store, Version(0, 1, 2))
    assert freshest(store) == {"a": 3, "b": 1, "c": 2}


def test_what_a_fold_would_not_count_is_not_in_the_freshest_totals() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    land(store, Version(0, 7, 0), {"a": 7})  # nobody made this generation known
    create_generation(store, DATASET.name, parent=1, first_complete_hour=HOUR + ONE)
    land(store, Version(0, 2, 0), {"a": 2})  # saw this hour only in part
    store.put(land(store, Version(0, 1, 1), {"a": 9}), b"damaged")
    store.put(f"landing/{DATASET.name}/hour=2026-03-29T01/notes.txt", b"foreign")
    assert freshest(store) == {"a": 1}


class FoldsMeanwhile(MemoryStore):
    """Another process folds the hour between this reader's listing and its first GET of a landing object."""

    armed = False

    def get(self, key: str) -> StoredObject:
        if self.armed and key.startswith("landing/"):
            self.armed = False
            fold_hour(self, DATASET, HOUR)
        return super().get(key)


def test_a_fold_that_takes_landing_away_meanwhile_hides_nothing() -> None:
    store = FoldsMeanwhile()
    create_generation(store, DATASET.name, parent=None, first_complete_hour=None)
    for batch in range(5):
        land(store, Version(0, 1, batch), {f"k{batch}": batch, "last": batch})
    store.armed = True
    assert freshest(store) == {**{f"k{batch}": batch for batch in range(5)}, "last": 4}
    assert not store.armed
    assert published_key(DATASET.prefix, HOUR) in store.objects
