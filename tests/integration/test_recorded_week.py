"""Seven days of a real city, through `aggregate` and through the stream, against figures counted elsewhere.

The recording is not part of the project; where it is at hand (`../shared/data`) the figures must come out
to the unit. The generated histories of test_station_stream.py stand for it everywhere else.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from millrace.settings import PROJECT_ROOT, Settings
from tests.integration.streams import make_stream
from tests.integration.test_station_stream import compact, read_published

RECORDING = PROJECT_ROOT.parent / "shared" / "data" / "baywheels_station_status_2023-05-08_7d.jsonl.xz"
RENTALS, RETURNS, STATION_HOURS, OBSERVATIONS = 36_067, 36_064, 86_688, 479_364

pytestmark = pytest.mark.skipif(not RECORDING.exists(), reason="the recording is not on this machine")


def millrace(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "millrace", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_aggregate_counts_a_week_to_the_unit(tmp_path: Path) -> None:
    shown = millrace("aggregate", "stations", str(RECORDING), "--out", str(tmp_path / "out"))
    numbers = {
        line.rsplit(maxsplit=1)[0].strip(): line.split()[-1] for line in shown.splitlines() if "," in line
    }
    assert (numbers["rentals"], numbers["returns"]) == ("36,067", "36,064")
    assert (numbers["station-hours"], numbers["observations"]) == ("86,688", "479,364")
    assert re.search(r"gaps +0\b", shown)
    again = subprocess.run(
        [sys.executable, "-m", "millrace", "aggregate", "stations", str(RECORDING), "--out", str(tmp_path / "out")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert again.returncode == 1
    assert "already holds something" in again.stderr


@pytest.mark.stack
def test_the_stream_counts_a_week_to_the_unit(tmp_path: Path, store_settings: Settings, kafka: str) -> None:
    stream = make_stream(tmp_path, store_settings, kafka, max_messages_per_batch=300)
    options = {"files": [str(RECORDING)], "system_id": "baywheels"}
    feed = {"kind": "replay", "topic": stream.topic, "options": options}
    (stream.catalog_dir / "feeds.yaml").write_text(yaml.safe_dump({"week": feed}))
    millrace("feed", "run", "week", environment=stream.environment)
    with stream.driver() as process:
        stream.wait_for_offset(929 + 1, process)
    compact(stream)
    rows, states = read_published(stream)
    assert states == {"final"}
    assert len(rows) == STATION_HOURS
    assert sum(row[0] for row in rows.values()) == RENTALS
    assert sum(row[1] for row in rows.values()) == RETURNS
    assert sum(row[2] for row in rows.values()) == OBSERVATIONS
    assert sum(row[3] for row in rows.values()) == 0
