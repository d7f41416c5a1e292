"""`millrace read` on a real S3 server: the three formats, the span, what may still change."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from millrace.publish.expire import advance_horizon, expire_hour
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from tests.integration.millrace_command import environment, millrace
from tests.integration.published_day import DATASET, HOURS, STATIONS, facts, land, publish


@pytest.fixture(scope="module")
def filled(s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Four hours: two final, a provisional and an expired one; a fifth is behind the horizon."""
    settings = Settings(**{**vars(s3_settings), "prefix": "read-command"})
    store = open_store(settings)
    publish(store, HOURS[1:3])
    publish(store, HOURS[3:4], seal=False)
    land(store, HOURS[1:2], 9)
    expire_hour(store, DATASET, HOURS[4])
    advance_horizon(store, DATASET, HOURS[1])
    return settings


def read(settings: Settings, *options: str) -> subprocess.CompletedProcess[str]:
    span = ("--from", f"{HOURS[1]:%Y-%m-%dT%H}", "--to", "2026-03-02")
    return millrace(settings, PROJECT_ROOT / "catalog", "read", DATASET.name, *span, *options)


EXPECTED = facts(HOURS[1:4])


def in_columns(found: pl.DataFrame) -> pl.DataFrame:
    return found.select(EXPECTED.columns).sort("window_start", "station_id")


def test_csv_is_the_default(filled: Settings) -> None:
    done = read(filled)
    assert done.returncode == 0, done.stderr
    found = pl.read_csv(done.stdout.encode(), schema_overrides={"window_start": pl.String})
    assert found.columns == list(DATASET.columns)
    assert found["window_start"][0] == "2026-03-01T13:00:00.000000Z"
    assert in_columns(found)["total_rental"].to_list() == EXPECTED["total_rental"].to_list()
    assert done.stderr.strip() == (
        f"{3 * STATIONS} rows of 4 published hours: 1 expired, 2 final but just written, 1 provisional"
    )


def test_json_is_one_object_a_line(filled: Settings) -> None:
    lines = [json.loads(line) for line in read(filled, "--format", "json").stdout.splitlines()]
    assert len(lines) == 3 * STATIONS
    assert list(lines[0]) == list(DATASET.columns)
    assert datetime.fromisoformat(lines[0]["window_start"]) == HOURS[1]


def test_parquet_has_the_types_of_the_dataset(filled: Settings, tmp_path: Path) -> None:
    out = tmp_path / "day.parquet"
    out.write_text("what was there before")
    done = read(filled, "--format", "parquet", "--out", str(out))
    assert (done.returncode, done.stdout) == (0, "")
    found = pl.read_parquet(out)
    assert found.schema["window_start"] == pl.Datetime("us", "UTC")
    assert in_columns(found).equals(EXPECTED)
    assert [path.name for path in tmp_path.iterdir()] == ["day.parquet"]


def test_only_final_hours_that_have_settled(filled: Settings) -> None:
    done = read(filled, "--final")
    assert len(done.stdout.splitlines()) == 1
    assert "2 final but just written (left out)" in done.stderr
    atomic = Settings(**{**vars(filled), "if_match": "atomic"})
    settled = read(atomic, "--final")
    assert len(settled.stdout.splitlines()) == 1 + 2 * STATIONS
    assert "1 provisional (left out)" in settled.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--from", f"{HOURS[0]:%Y-%m-%dT%H}"],
            "is gone for good: retention keeps hours from 2026-03-01 13h UTC on",
        ),
        (["--from", "2026-03-01T14:30"], "not the beginning of an hour"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_the_file_alone(
    options: list[str], words: str, filled: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "kept.csv"
    out.write_text("what was there before")
    done = read(filled, *options, "--out", str(out))
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert out.read_text() == "what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.csv"]


def test_a_reader_that_goes_away_is_no_error(filled: Settings) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "millrace", "read", DATASET.name, "--from", f"{HOURS[1]:%Y-%m-%dT%H}"],
        env=environment(filled, PROJECT_ROOT / "catalog"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_span_without_hours_is_empty_and_says_so(filled: Settings) -> None:
    done = millrace(
        filled,
        PROJECT_ROOT / "catalog",
        *("read", DATASET.name, "--from", "2026-03-05", "--to", "2026-03-06"),
    )
    assert done.stdout == ",".join(DATASET.columns) + "\n"
    assert done.stderr.strip() == "no hour of that span is published"
