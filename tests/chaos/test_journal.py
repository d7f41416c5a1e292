"""What the journal calls wrong: a judge that never finds fault would prove nothing."""

from __future__ import annotations

import pytest

from spark_apps.runtime.carried_state import Manifest
from tests.chaos.journal import Commit, Journal, not_exactly_once
from tests.chaos.proxy import Request


def commit(batch: int, records: int, generation: int = 1, counted: int | None = None) -> Commit:
    manifest = Manifest(
        schema=1,
        stream="s",
        generation=generation,
        batch=batch,
        buckets=1,
        offsets={"0": records},
        totals={"records": records if counted is None else counted},
    )
    return Commit(0.0, 0.0, manifest)


def test_a_life_without_a_gap_and_its_next_generation_are_right() -> None:
    assert not_exactly_once([commit(0, 5), commit(1, 9), commit(2, 9), commit(0, 12, generation=2)]) == []


@pytest.mark.parametrize(
    ("commits", "words"),
    [
        ([commit(0, 5), commit(0, 5)], "batch 0 follows generation 1 batch 0"),
        ([commit(0, 5), commit(2, 9)], "batch 2 follows generation 1 batch 0"),
        ([commit(0, 5), commit(1, 4)], "goes back"),
        ([commit(0, 5), commit(1, 9, counted=10)], "counts 10 records up to offsets {'0': 9}"),
        ([commit(0, 5, generation=2), commit(1, 9, generation=1)], "follows generation 2"),
    ],
)
def test_what_is_not_exactly_once_is_named(commits: list[Commit], words: str) -> None:
    assert words in " ".join(not_exactly_once(commits))


def test_only_commits_that_the_store_took_are_in_it() -> None:
    journal = Journal()
    body = commit(3, 7).manifest.body()
    key = "bucket/prefix/state/s/g00001/manifest-0000000003.json"
    for method, name, status in [
        ("GET", key, 200),
        ("PUT", key, 503),
        ("PUT", key, 412),
        ("PUT", key.replace("manifest-", "pack-"), 200),
        ("PUT", key, 200),
    ]:
        journal.note(Request("drivers", method, name, b"", body, 1.0), status)
    assert [one.manifest.batch for one in journal.commits("s")] == [3]
    assert journal.refused("s") == 1
    assert journal.next_commit("s", after=0.5, within=0) is not None
    assert journal.next_commit("s", after=1.5, within=0) is None
    assert journal.wait_for_records("s", 7, within=0)
    assert not journal.wait_for_records("s", 8, within=0)
