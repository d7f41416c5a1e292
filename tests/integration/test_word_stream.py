"""A TCP server -> the driver of word_count -> live view and console: no Kafka anywhere, and a source that forgets."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from millrace.catalog import StreamSpec
from millrace.control.desired import DesiredState
from millrace.control.health import Thresholds, assess
from millrace.control.live import read_live
from millrace.control.status import observe_newest
from millrace.settings import Settings
from millrace.store import open_store
from tests.conftest import wait_until
from tests.integration.line_server import LineServer
from tests.integration.streams import StreamUnderTest, kill, make_stream, rejected_rows
from tests.oracles.words import words_of
from tests.unit.control.samples import desired

pytestmark = pytest.mark.stack
NO_KAFKA = "127.0.0.1:9"


def verses(seed: int, count: int) -> list[bytes]:
    """Lines in several scripts, some of them without a word."""
    dice = random.Random(seed)
    words = ["stream", "Stream", "#spark", "서울", "été", "[/bold]", "\x1b[2J", "the", "a", "\u3000", ""]
    return [" ".join(dice.choices(words, k=dice.randint(0, 8))).encode() for _ in range(count)]


def content(stream: StreamUnderTest) -> dict[str, object]:
    view = read_live(open_store(stream.settings), stream.name)
    return view.content if view is not None else {}


def wait_for_lines(stream: StreamUnderTest, process: subprocess.Popen[bytes], lines: int) -> None:
    def seen() -> bool:
        assert process.poll() is None, stream.log()[-3000:]
        return content(stream).get("lines") == lines

    wait_until(seen, 240, f"the live view of {lines} lines")


def same(stream: StreamUnderTest, lines: list[bytes]) -> None:
    truth, view = words_of(lines), content(stream)
    assert (view["lines"], view["words"]) == (truth.lines, truth.running.total())
    assert view["different_words"] == len(truth.running)
    assert view["running_counts"] == [
        {"word": word, "count": count} for word, count in truth.most_frequent(10)
    ]


def test_counts_go_on_over_kills_and_a_server_that_goes_away_is_said(
    tmp_path: Path, store_settings: Settings
) -> None:
    with LineServer() as server:
        address = f"127.0.0.1:{server.port}"
        stream = make_stream(
            tmp_path, store_settings, NO_KAFKA, "word_count", source=f"socket://{address}", trigger="500ms"
        )
        lines = verses(1, 300)
        with stream.driver() as process:
            server.accept()
            server.send(lines)
            wait_for_lines(stream, process, len(lines))
            same(stream, lines)
            assert running_but_what_waits_is_unknown(stream)
            server.send(on_its_way := verses(2, 50))
            kill(process, "all of it")
        manifest = stream.manifest()
        assert manifest is not None
        counted = manifest.offsets["0"]
        lines = (lines + on_its_way)[:counted]
        with stream.driver() as process:
            server.accept()
            server.send(verses(3, 100))
            lines += verses(3, 100)
            wait_for_lines(stream, process, len(lines))
            same(stream, lines)
            server.send([*verses(4, 30), b"the last word"])
            lines += [*verses(4, 30), b"the last word"]
            server.hang_up()
            assert process.wait(60) == 1
            same(stream, lines)
    with stream.driver() as process:
        assert process.wait(120) == 1, "nobody answers"
    same(stream, lines)
    log = stream.log()
    for said in (
        f"word_count: reads socket://{address}, which cannot be read again",
        f"`millrace feed lines {address}` brings the same lines to Kafka",
        f"goes on after {counted} records; what had come after them and was not counted is lost",
        f"the server at socket://{address} has closed the connection; every line that had come is counted",
        f"no connection to socket://{address}: Connection refused",
        "running counts",
    ):
        assert said in log
    assert "Traceback" not in log
    assert "\x1b" not in log, "what anybody sends must not steer a terminal"
    assert not (stream.settings.home / "streams" / stream.name / "failing-batch.json").exists()
    assert rejected_rows(stream) == []
    status = stream.status()
    assert status is not None
    assert (status.state, status.exit_code) == ("failed", 1)


def running_but_what_waits_is_unknown(stream: StreamUnderTest) -> bool:
    observed = observe_newest(open_store(stream.settings), stream.name)
    assert observed is not None
    spec: StreamSpec = stream.catalog.streams[stream.name]
    order: DesiredState = desired()
    health = assess(order, observed, observed.read_at, Thresholds.of(spec))
    assert observed.status.lag is None
    return health.healthy and "a stalled stream cannot be told from an idle one" in health.reason
