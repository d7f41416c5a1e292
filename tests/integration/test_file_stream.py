"""A driver that reads files: killed and started again it counts each line once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from millrace.control import exit_codes
from millrace.settings import Settings
from tests.integration.streams import kill, make_stream, rejected_rows
from tests.integration.test_word_stream import NO_KAFKA, same, verses, wait_for_lines

pytestmark = pytest.mark.stack


def test_a_stream_of_files_is_exact_over_a_kill_and_refuses_to_guess(
    tmp_path: Path, store_settings: Settings
) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    lines: list[bytes] = []

    def put(number: int) -> None:
        content = [*verses(number, 200), b"\xff"]
        (tmp_path / "new").write_bytes(b"".join(line + b"\n" for line in content))
        os.utime(tmp_path / "new", (1_700_000_000 + number,) * 2)
        (tmp_path / "new").rename(directory / f"{number:03}.txt")
        lines.extend(content)

    stream = make_stream(
        tmp_path, store_settings, NO_KAFKA, "word_count", source=f"files://{directory}", trigger="0ms"
    )
    for number in range(12):
        put(number)
    with stream.driver() as process:
        stream.wait_for_offset(2 * 201, process)
        kill(process, "all of it")
    put(12)
    with stream.driver() as process:
        wait_for_lines(stream, process, len(lines))
        same(stream, lines)
        process.terminate()
        assert process.wait(60) == exit_codes.STOPPED
    assert {(row["offset"], row["value"]) for row in rejected_rows(stream)} == {
        (number, line) for number, line in enumerate(lines) if line == b"\xff"
    }
    shutil.rmtree(stream.settings.home / "streams" / stream.name / "checkpoint")
    with stream.driver() as process:
        assert process.wait(60) == exit_codes.BAD_CONFIGURATION
    assert f"`millrace stream reset {stream.name}` reads everything" in stream.log()
    assert "Traceback" not in stream.log()
