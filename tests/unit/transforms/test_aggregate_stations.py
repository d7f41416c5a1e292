"""History in batch against the oracle, read back by an ordinary Parquet reader."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from millrace.catalog import load_catalog
from millrace.feeds.compressed import RecordedError
from millrace.feeds.model import Poll, Station
from millrace.publish.codec import decode_hour
from millrace.settings import PROJECT_ROOT
from spark_apps import aggregate_stations as module
from spark_apps.aggregate_stations import aggregate_stations
from spark_apps.transforms.stations import StationRules
from tests.oracles.stations import Message, movements

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
T0 = 1_700_000_000 // 3600 * 3600


def history(system: str, seed: int, polls: int) -> list[Poll]:
    dice = random.Random(seed)
    times = [T0 + number * 600 + dice.randint(0, 99) for number in range(polls) if dice.random() < 0.8]
    return [
        Poll(
            system,
            time,
            time,
            [Station(f"s{n}", dice.randint(0, 9)) for n in range(4) if dice.random() < 0.9],
        )
        for time in times
    ]


@pytest.mark.parametrize("per_step", [3, 50, 1000])
def test_two_recordings_after_each_other_share_their_hours(
    per_step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLLS_PER_STEP", per_step)
    polls = [*history("north", 1, 150), *history("south", 2, 150)]
    done = aggregate_stations(polls, DATASET, StationRules(), tmp_path)
    truth = movements(
        [
            Message(p.system_id, p.observed_at, 1 << 40, tuple((s.station_id, s.bikes) for s in p.stations))
            for p in polls
        ],
        late_by=7200,
        max_gap=7200,
    ).rows
    rows = {}
    for path in tmp_path.glob("hourly_summary/*/*/*/*/part-0.parquet"):
        assert decode_hour(path.read_bytes(), DATASET, str(path)).status == "final"
        for row in pq.read_table(path, partitioning=None).to_pylist():
            hour = int(row["window_start"].timestamp()) // 3600
            rows[row["system_id"], row["station_id"], hour] = (
                row["total_rental"], row["total_return"], row["observations"], row["gaps"],
                int(row["last_observed_at"].timestamp()), row["bikes_at_end"],
            )  # fmt: skip
    assert rows == truth
    assert (done.rows, done.total_rental) == (len(truth), sum(row[0] for row in truth.values()))


def test_a_directory_with_hours_in_it_is_refused(tmp_path: Path) -> None:
    aggregate_stations(history("north", 1, 5), DATASET, StationRules(), tmp_path)
    with pytest.raises(FileExistsError, match="already holds something"):
        aggregate_stations(history("north", 1, 5), DATASET, StationRules(), tmp_path)


def test_a_recording_without_polls_writes_nothing(tmp_path: Path) -> None:
    assert aggregate_stations([], DATASET, StationRules(), tmp_path).hours == 0
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_recording_that_ends_early_leaves_no_hour_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLLS_PER_STEP", 3)

    def cut_off() -> Iterator[Poll]:
        yield from history("north", 1, 150)
        raise RecordedError("cut off")

    with pytest.raises(RecordedError):
        aggregate_stations(cut_off(), DATASET, StationRules(), tmp_path)
    assert list(tmp_path.iterdir()) == []
