from __future__ import annotations

import threading
from datetime import datetime

import pytest
from pydantic import ValidationError

from millrace.control.desired import read_desired, write_desired
from millrace.control.epochs import claim_epoch, newest_epoch, observe_epoch
from millrace.control.layout import ControlObjectError
from millrace.control.status import newest_status, observe_newest, read_statuses, write_status
from millrace.store import MemoryStore, PreconditionFailed, StoreUnavailable
from tests.unit.control.samples import NOW, desired, status


def test_epochs_count_up_and_each_has_one_owner():
    store = MemoryStore()
    claimed: list[int] = []
    threads = [
        threading.Thread(target=lambda: claimed.append(claim_epoch(store, "bikes", spec_revision=1)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(1, 9))
    assert newest_epoch(store, "bikes") == newest_epoch(store, "bikes", known=5) == 8
    assert newest_epoch(store, "other") == 0
    assert observe_epoch(store, "bikes", 3).claim.driver_epoch == 3
    assert observe_epoch(store, "bikes", 9) is None


def test_epochs_of_more_digits_than_the_name_has_still_count():
    store = MemoryStore()
    store.put("control/bikes/epochs/99999999.json", b"{}")
    store.put("control/bikes/epochs/README.md", b"not an epoch")
    assert claim_epoch(store, "bikes", spec_revision=1) == 100_000_000
    assert newest_epoch(store, "bikes") == 100_000_000


class LosesTheAnswer(MemoryStore):
    """Stores what is put, and then reports that there was no answer."""

    def put(self, key, body, **conditions):
        super().put(key, body, **conditions)
        raise StoreUnavailable("no answer")


class StoresNothing(MemoryStore):
    def put(self, key, body, **conditions):
        raise StoreUnavailable("no answer")


class RepeatsThePut(MemoryStore):
    """A client below that repeats a PUT which was stored, and so meets its own object."""

    def put(self, key, body, **conditions):
        super().put(key, body, **conditions)
        return super().put(key, body, **conditions)


def test_a_claim_without_an_answer_is_recognised_as_ones_own():
    assert claim_epoch(LosesTheAnswer(), "bikes", spec_revision=1) == 1
    assert claim_epoch(RepeatsThePut(), "bikes", spec_revision=1) == 1
    with pytest.raises(StoreUnavailable):
        claim_epoch(StoresNothing(), "bikes", spec_revision=1)


def test_statuses_come_by_epoch_and_the_newest_is_the_last():
    store = MemoryStore()
    assert newest_status(store, "bikes") is None
    for epoch in (2, 10, 1):
        write_status(store, status(epoch=epoch).status)
    assert [found.driver_epoch for found in read_statuses(store, "bikes")] == [1, 2, 10]
    assert [found.driver_epoch for found in read_statuses(store, "bikes", newest=2)] == [2, 10]
    assert newest_status(store, "bikes").driver_epoch == 10


def test_the_age_of_a_heartbeat_is_by_the_clock_of_the_store():
    store = MemoryStore()
    write_status(store, status(age=100_000).status)
    store.now = store.now.replace(minute=1)
    assert observe_newest(store, "bikes").age.total_seconds() == 60


def test_desired_state_changes_only_from_the_state_it_was_decided_on():
    store = MemoryStore()
    assert read_desired(store, "bikes") is None
    etag = write_desired(store, "bikes", desired(), replacing=None)
    with pytest.raises(PreconditionFailed):
        write_desired(store, "bikes", desired("stopped"), replacing=None)
    write_desired(store, "bikes", desired("stopped", spec_revision=2), replacing=etag)
    with pytest.raises(PreconditionFailed):
        write_desired(store, "bikes", desired(spec_revision=2), replacing=etag)
    assert read_desired(store, "bikes").state == "stopped"


def test_an_object_that_cannot_be_understood_is_named_with_what_is_wrong():
    store = MemoryStore()
    store.put("control/bikes/desired.json", desired().to_body().replace(b'"running"', b'"runing"'))
    with pytest.raises(
        ControlObjectError, match=r"control/bikes/desired.json .* state: .*'running' or 'stopped'"
    ):
        read_desired(store, "bikes")
    store.put("control/bikes/desired.json", b"not json")
    with pytest.raises(ControlObjectError, match="desired"):
        read_desired(store, "bikes")


def test_times_without_a_zone_are_refused_and_others_become_utc():
    with pytest.raises(ValidationError):
        desired(at=datetime(2026, 3, 1))
    assert desired(at=datetime.fromisoformat("2026-03-01T17:30:00+05:30")).at == NOW
    assert desired(at=datetime.fromisoformat("2026-03-01T17:30:00+05:30")).at.utcoffset().total_seconds() == 0


def test_keys_of_a_newer_version_are_ignored():
    store = MemoryStore()
    store.put("control/bikes/desired.json", desired().to_body().replace(b"{", b'{"colour": "blue",', 1))
    assert read_desired(store, "bikes") == desired()
