"""`millrace aggregate stations` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.commands.aggregate import app

runner = CliRunner()


def line(at: int, bikes: int) -> str:
    station = {"station_id": "a", "num_bikes_available": bikes}
    return (
        json.dumps({"fetched_at": at, "feed": {"last_updated": at, "data": {"stations": [station]}}}) + "\n"
    )


def aggregate(recording: str, directory: Path, *more: str) -> tuple[int, str, str]:
    file = directory / "polls.jsonl"
    file.write_text(recording)
    answer = runner.invoke(app, ["stations", str(file), "--out", str(directory / "out"), *more])
    return answer.exit_code, answer.stdout, answer.stderr


def test_what_cannot_be_read_is_left_out_named_and_counted(tmp_path: Path) -> None:
    recording = line(1_700_000_000, 5) + "{torn\n" + line(1_700_000_060, -1) + line(1_700_000_120, 3)
    status, told, complaints = aggregate(recording, tmp_path)
    assert status == 0
    assert "rentals                  2" in told
    assert "left out, bad_station: 1\nleft out, not_json: 1" in told
    assert "polls.jsonl:2: " in complaints
    assert "polls.jsonl:3: " in complaints


@pytest.mark.parametrize(
    ("recording", "more", "message"),
    [
        ('{"did":"a"}\n', [], "not one poll could be read"),
        (line(1_700_000_000, 5), ["--stream", "order_metrics"], "'order_metrics' counts no bike stations"),
        (line(1_700_000_000, 5), ["--system-id", ""], "--system-id: String should have"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_line(
    tmp_path: Path, recording: str, more: list[str], message: str
) -> None:
    status, told, complaints = aggregate(recording, tmp_path, *more)
    assert (status, told) == (1, "")
    assert message in complaints
    assert not list(tmp_path.rglob("*.parquet"))
