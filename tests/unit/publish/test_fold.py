import json
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.publish.audit import Verdict
from millrace.publish.codec import FormatError, encode_hour
from millrace.publish.content import content_digest
from millrace.publish.fold import SETTLED_AFTER, fold_hour
from millrace.publish.generations import create_generation, known_generations
from millrace.publish.hour import HourState
from millrace.publish.layout import published_key, seal_key
from millrace.publish.version import Version
from millrace.store import MemoryStore, NotFound, PreconditionFailed, StoreUnavailable
from tests.unit.publish.builders import DATASET, HOUR, land, landing, new_store, published, rows, seal, totals


def test_facts_become_a_provisional_hour_and_leave_landing() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1, "b": 2})
    land(store, Version(0, 1, 1), {"a": 5})
    result = fold_hour(store, DATASET, HOUR)
    assert (result.outcome, result.status, result.rows, result.rev) == ("published", "provisional", 2, 1)
    assert totals(published(store)) == {"a": 5, "b": 2}
    assert landing(store) == []


def test_a_sealed_hour_becomes_final_in_one_run() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    seal(store, Version(0, 1, 3))
    result = fold_hour(store, DATASET, HOUR)
    assert result.status == "final"
    assert published(store).final == Version(0, 1, 3).packed()
    assert landing(store) == []


def test_a_late_fact_amends_a_final_hour_until_the_next_seal() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    seal(store, Version(0, 1, 3))
    fold_hour(store, DATASET, HOUR)
    rev = published(store).rev
    land(store, Version(0, 1, 9), {"a": 4})
    assert fold_hour(store, DATASET, HOUR).status == "amending"
    assert published(store).rev > rev
    seal(store, Version(0, 1, 9))
    assert fold_hour(store, DATASET, HOUR).status == "final"
    assert totals(published(store)) == {"a": 4}


def test_an_hour_with_a_seal_and_no_facts_is_final_and_empty() -> None:
    store = new_store()
    seal(store, Version(0, 1, 3))
    result = fold_hour(store, DATASET, HOUR)
    assert (result.status, result.rows) == ("final", 0)


def test_a_second_run_changes_nothing() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    fold_hour(store, DATASET, HOUR)
    before = dict(store.objects)
    assert fold_hour(store, DATASET, HOUR).outcome == "unchanged"
    assert store.objects == before


def test_facts_of_an_unknown_generation_are_left_alone() -> None:
    store = new_store()
    key = land(store, Version(0, 2, 0), {"a": 1})
    assert fold_hour(store, DATASET, HOUR).rows == 0
    assert key in landing(store)
    create_generation(store, DATASET.name, parent=1, first_complete_hour=None)
    fold_hour(store, DATASET, HOUR)
    assert totals(published(store)) == {"a": 1}


def test_a_generation_cannot_replace_an_hour_that_it_saw_only_in_part() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 10})
    create_generation(store, DATASET.name, parent=1, first_complete_hour=HOUR + timedelta(hours=1))
    key = land(store, Version(0, 2, 0), {"a": 2})
    fold_hour(store, DATASET, HOUR)
    assert totals(published(store)) == {"a": 10}
    assert key.replace("landing/", "rejected/facts/", 1) in store.objects


def test_facts_below_the_replay_floor_no_longer_count_and_are_cleaned_away() -> None:
    store = new_store()
    state = HourState(rows=rows(("a", 7, Version(1, 0, 0))), replay_floor=1, rev=3)
    store.put(published_key(DATASET.prefix, HOUR), encode_hour(state, DATASET))
    land(store, Version(0, 1, 99), {"a": 1, "z": 1})
    fold_hour(store, DATASET, HOUR)
    assert totals(published(store)) == {"a": 7}
    assert landing(store) == []


def test_an_expired_hour_stays_expired() -> None:
    store = new_store()
    store.put(
        published_key(DATASET.prefix, HOUR), encode_hour(HourState(rows=rows(), expired=True, rev=4), DATASET)
    )
    land(store, Version(0, 1, 0), {"a": 1})
    assert fold_hour(store, DATASET, HOUR).status == "expired"
    assert landing(store) == []
    assert published(store).rows.is_empty()


def test_where_if_match_is_not_atomic_nothing_is_deleted_until_the_published_object_has_settled() -> None:
    store = new_store(atomic=False)
    land(store, Version(0, 1, 0), {"a": 1})
    seal(store, Version(0, 1, 0))
    assert fold_hour(store, DATASET, HOUR).status == "final"
    assert len(landing(store)) == 2
    store.now += SETTLED_AFTER
    fold_hour(store, DATASET, HOUR)
    assert len(landing(store)) == 2
    store.now += timedelta(seconds=1)
    fold_hour(store, DATASET, HOUR)
    assert landing(store) == []


def test_a_published_object_that_is_not_parquet_is_named_in_the_error() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    key = published_key(DATASET.prefix, HOUR)
    store.put(key, b"not parquet")
    with pytest.raises(FormatError, match=key):
        fold_hour(store, DATASET, HOUR)
    assert len(landing(store)) == 1


def test_a_replay_replaces_what_the_stream_wrote_and_later_writes() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1, "z": 1})
    seal(store, Version(0, 1, 0))
    fold_hour(store, DATASET, HOUR)
    land(store, Version(1, 1, 0), {"a": 7})
    assert fold_hour(store, DATASET, HOUR).status == "amending"
    assert totals(published(store)) == {"a": 7}
    land(store, Version(0, 1, 9), {"a": 3, "y": 3})
    seal(store, Version(1, 1, 0))
    assert fold_hour(store, DATASET, HOUR).status == "final"
    assert totals(published(store)) == {"a": 7}
    assert landing(store) == []


def test_a_replay_without_rows_empties_the_hour() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    fold_hour(store, DATASET, HOUR)
    land(store, Version(2, 1, 0), {})
    fold_hour(store, DATASET, HOUR)
    assert totals(published(store)) == {}
    assert published(store).replay_floor == 2
    assert landing(store) == []


class FailingStore(MemoryStore):
    """Injects faults by a seeded coin: lost requests, lost replies, objects that vanish while read."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.coin = random.Random(seed)
        self.faults = 0

    def _unlucky(self) -> bool:
        if self.faults < 4 and self.coin.random() < 0.3:
            self.faults += 1
            return True
        return False

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if not key.startswith(DATASET.prefix):
            return super().put(key, body, if_match=if_match, if_absent=if_absent)
        if self._unlucky():
            raise StoreUnavailable("request lost")
        etag = super().put(key, body, if_match=if_match, if_absent=if_absent)
        if self._unlucky():
            raise self.coin.choice(
                [StoreUnavailable("reply lost"), PreconditionFailed("own write met by a retry")]
            )
        return etag

    def get(self, key: str):
        if key.startswith("landing/") and self._unlucky():
            raise NotFound(key)
        return super().get(key)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1 << 30),
    batches=st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), min_size=1), min_size=1, max_size=6
    ),
)
def test_faults_between_any_two_steps_lose_nothing(seed: int, batches: list[dict[str, int]]) -> None:
    store = FailingStore(seed)
    create_generation(store, DATASET.name, parent=None, first_complete_hour=None)
    expected: dict[str, int] = {}
    for number, batch in enumerate(batches):
        land(store, Version(0, 1, number), batch)
        expected |= batch
        if store.coin.random() < 0.5:
            fold_hour(store, DATASET, HOUR, pause=lambda _: None)
    seal(store, Version(0, 1, len(batches)))
    while fold_hour(store, DATASET, HOUR, pause=lambda _: None).status != "final":
        pass
    fold_hour(store, DATASET, HOUR, pause=lambda _: None)
    assert totals(published(store)) == expected
    assert landing(store) == []


def test_generation_numbers_are_claimed_once() -> None:
    store = MemoryStore()
    claims = [create_generation(store, "d", parent=None, first_complete_hour=None) for _ in range(3)]
    assert [claim.generation for claim in claims] == known_generations(store, "d") == [1, 2, 3]


def test_a_seal_names_its_writer() -> None:
    store = new_store()
    key = seal(store, Version(0, 1, 0))
    assert key == seal_key(DATASET.name, HOUR, Version(0, 1, 0))
    assert json.loads(store.get(key).body) == {"writer": "counter"}


def test_what_an_audit_refuses_is_not_published_and_not_lost() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    fold_hour(store, DATASET, HOUR, audit=lambda *_: Verdict(True, {"checked": 3}))
    assert published(store).quality == {"checked": 3}
    land(store, Version(0, 1, 1), {"a": -1})
    asked = []

    def audit(dataset: object, hour: object, candidate: HourState, before: HourState) -> Verdict:
        asked.append((totals(candidate), totals(before)))
        return Verdict(False, {}, "a is negative")

    result = fold_hour(store, DATASET, HOUR, audit=audit)
    assert (result.outcome, result.error) == ("quarantined", "a is negative")
    assert asked == [({"a": -1}, {"a": 1})]
    assert totals(published(store)) == {"a": 1}
    assert len(landing(store)) == 1


def test_an_approval_names_a_content_and_not_its_marks() -> None:
    one = HourState(rows=rows(("a", 1, Version(0, 1, 0))), rev=1)
    sealed = HourState(rows=one.rows, rev=2, seals={"counter": 9}, final=9, quality={"x": 1})
    other = HourState(rows=rows(("a", 2, Version(0, 1, 0))), rev=1)
    assert content_digest(one, DATASET) == content_digest(sealed, DATASET) != content_digest(other, DATASET)
