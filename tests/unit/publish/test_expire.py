from datetime import timedelta

import pytest

from millrace.publish.expire import (
    HourExpired,
    advance_horizon,
    expire_hour,
    is_expired_for_good,
    read_horizon,
    refuse_expired,
)
from millrace.publish.fold import SETTLED_AFTER, fold_hour
from millrace.publish.generations import create_generation
from millrace.publish.layout import published_key
from millrace.publish.version import Version
from millrace.store import MemoryStore, NotFound, StoredObject, StoreUnavailable
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


def test_an_expiry_is_for_good_once_nothing_under_way_can_replace_it() -> None:
    store = new_store(atomic=False)
    assert not is_expired_for_good(store, DATASET, HOUR)
    land(store, Version(0, 1, 0), {"a": 1})
    fold_hour(store, DATASET, HOUR)
    store.now += SETTLED_AFTER * 2
    assert not is_expired_for_good(store, DATASET, HOUR)
    expire_hour(store, DATASET, HOUR)
    store.now += SETTLED_AFTER
    assert not is_expired_for_good(store, DATASET, HOUR)
    store.now += timedelta(seconds=1)
    assert is_expired_for_good(store, DATASET, HOUR)


class HorizonPassesMeanwhile(MemoryStore):
    """Retention gives the hour up, and its empty object goes, while a fold reads what has landed."""

    def get(self, key: str) -> StoredObject:
        if key.startswith("landing/") and read_horizon(self, DATASET) is None:
            expire_hour(self, DATASET, HOUR)
            advance_horizon(self, DATASET, HOUR + timedelta(hours=1))
            self.delete(published_key(DATASET.prefix, HOUR))
            raise NotFound(key)
        return super().get(key)


def test_a_fold_under_way_does_not_bring_back_an_hour_that_the_horizon_passes_meanwhile() -> None:
    store = HorizonPassesMeanwhile()
    create_generation(store, DATASET.name, parent=None, first_complete_hour=None)
    land(store, Version(0, 1, 0), {"a": 1})
    assert fold_hour(store, DATASET, HOUR, pause=lambda _: None).status == "expired"
    assert published_key(DATASET.prefix, HOUR) not in store.objects
    assert landing(store) == []


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
