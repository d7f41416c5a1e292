"""A batch that ends its driver each time, with a real driver: named, or put aside without touching anything else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from millrace.control import exit_codes
from millrace.settings import PROJECT_ROOT, Settings
from spark_apps.runtime.poison import DEATHS, FAILURES
from tests.conftest import wait_until
from tests.integration.streams import (
    StreamUnderTest,
    compact,
    end_of_input,
    make_stream,
    poll,
    published_rows,
    rejected_rows,
)
from tests.integration.test_station_stream import T0, city, key_of, row_of
from tests.oracles.stations import movements

pytestmark = pytest.mark.stack


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """A directory from which the project's apps run, and the fragile one beside them."""
    own = tmp_path / "apps" / "spark_apps"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text(
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"
    )
    shutil.copy(Path(__file__).with_name("fragile_app.py"), own / "fragile.py")
    return own.parent


def fragile(tmp_path: Path, settings: Settings, kafka: str, **changes: object) -> StreamUnderTest:
    return make_stream(tmp_path, settings, kafka, app="fragile", max_messages_per_batch=15, **changes)


def a_life(stream: StreamUnderTest, apps: Path) -> int:
    """A driver from its beginning to its end by itself: the exit code."""
    with stream.driver(cwd=apps, PYTHONPATH=f"{apps}{os.pathsep}{PROJECT_ROOT}") as process:
        wait_until(lambda: process.poll() is not None, 120, "the driver to end", every=0.1)
    return process.returncode


def mark_of(stream: StreamUnderTest) -> Path:
    return stream.settings.home / "streams" / stream.name / "batch-at-hand.json"


def all_but_one(stream: StreamUnderTest, count: str, most: int) -> None:
    """As if the batch at hand had ended all but one of the drivers that it takes to name it; a life takes 15 s."""
    mark = json.loads(mark_of(stream).read_text())
    assert mark[count] == 1
    mark_of(stream).write_text(json.dumps(mark | {count: most - 1}))


def read_on(stream: StreamUnderTest, apps: Path, offset: int) -> subprocess.Popen[bytes]:
    with stream.driver(cwd=apps, PYTHONPATH=f"{apps}{os.pathsep}{PROJECT_ROOT}") as process:
        stream.wait_for_offset(offset, process)
        wait_until(lambda: not mark_of(stream).exists(), 30, "the batch to be done")
        wait_until(lambda: (found := stream.status()) and found.lag == 0, 30, "the status to say so")
    return process


def test_only_the_records_that_fail_are_put_aside_and_the_rest_is_exact(
    tmp_path: Path, store_settings: Settings, kafka: str, apps: Path
) -> None:
    stream = fragile(tmp_path, store_settings, kafka, on_poison="put_aside")
    messages = city("north", 4, 60)
    records = [poll(message.system_id, message.observed_at, message.stations) for message in messages]
    raising = poll("north", messages[20].observed_at + 1, [("raises", 3), ("st1", 4)])
    killing = poll("north", messages[50].observed_at + 1, [("kills", 3), ("st1", 4)])
    records[50:50], records[20:20] = [killing], [raising, raising]
    records.append(end_of_input("north", T0))
    stream.send(records)

    assert a_life(stream, apps) not in exit_codes.NOT_RESTARTED
    all_but_one(stream, "failures", FAILURES)
    assert a_life(stream, apps) not in exit_codes.NOT_RESTARTED, "it went on to the record that kills"
    all_but_one(stream, "deaths", DEATHS)
    read_on(stream, apps, len(records))

    compact(stream)
    rows, states = published_rows(stream)
    assert {key_of(row): row_of(row) for row in rows} == movements(messages, late_by=7200, max_gap=7200).rows
    assert states == {"final"}
    aside = {
        (row["offset"], row["value"]): (row["reason"], row["detail"])
        for row in rejected_rows(stream)
        if row["reason"] == "poisoned"
    }
    no_such = ("poisoned", "ValueError: no such station: raises")
    assert aside == {
        (20, raising[1]): no_such,
        (21, raising[1]): no_such,
        (52, killing[1]): ("poisoned", "its process died (killed by signal 9)"),
    }
    assert stream.manifest().totals["rejected.poisoned"] == 3
    assert stream.status().rejected["poisoned"] == 1, "of this driver's life"


def test_a_batch_that_kills_the_jvm_is_named_with_its_offsets(
    tmp_path: Path, store_settings: Settings, kafka: str, apps: Path
) -> None:
    stream = fragile(tmp_path, store_settings, kafka)
    stream.send([poll("north", T0, [("st1", 3)]), poll("north", T0 + 60, [("kills_jvm", 3)])])
    mark_of(stream).parent.mkdir(parents=True)
    seen = {"generation": 1, "batch": 0, "spans": {"0": [0, 2]}, "deaths": DEATHS - 1, "open": False}
    mark_of(stream).write_text(json.dumps(seen))
    assert a_life(stream, apps) not in exit_codes.NOT_RESTARTED
    assert json.loads(mark_of(stream).read_text())["deaths"] == DEATHS, stream.log()[-3000:]
    assert a_life(stream, apps) == exit_codes.POISONED_BATCH
    status = stream.status()
    assert status.exit_code == exit_codes.POISONED_BATCH
    assert f"(topic {stream.topic}, partition 0, offsets 0 to 1) ended its driver 5 times" in status.error
    assert "the last time: its JVM died (killed by signal 9)" in status.error
    assert stream.manifest() is None, "nothing of it was committed"
