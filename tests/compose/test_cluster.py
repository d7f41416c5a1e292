"""A moment at which a micro-batch is at work, found in Spark's own logs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.compose.cluster import Batches
from tests.compose.stack import StackFailed


@pytest.fixture
def spark(tmp_path: Path) -> Path:
    """A checkpoint whose batch 9 has begun and is not committed."""
    for log, newest in (("offsets", 9), ("commits", 8)):
        (tmp_path / log).mkdir()
        for batch in range(newest + 1):
            (tmp_path / log / str(batch)).touch()
        (tmp_path / log / f".{newest}.crc").touch()
    return tmp_path


def test_it_is_a_batch_that_begins_and_not_the_one_that_is_at_work_already(spark: Path) -> None:
    batches, found = Batches(spark), []
    assert batches.at_work() == 9
    waiting = threading.Thread(target=lambda: found.append(batches.wait_at_work(60)))
    waiting.start()
    batch = 9
    while waiting.is_alive():
        (spark / "commits" / str(batch)).touch()
        assert batches.at_work() is None
        batch += 1
        (spark / "offsets" / str(batch)).touch()
        waiting.join(0.1)
    assert found[0] in range(10, batch + 1)
    assert not batches.is_committed(batch)


def test_a_directory_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackFailed, match="no checkpoint"):
        Batches(tmp_path)
