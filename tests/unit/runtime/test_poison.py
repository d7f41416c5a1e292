from __future__ import annotations

import json
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError, Py4JNetworkError

from spark_apps.runtime.cause import cause_of, last_line
from spark_apps.runtime.errors import PoisonedBatch
from spark_apps.runtime.planned import planned_spans
from spark_apps.runtime.poison import DEATHS, FAILURES, SILENT_DEATH, Attempts

SPANS = {"0": (120, 135)}


def life(path: Path, *, puts_aside: bool = False, counts_deaths: bool = True) -> Attempts:
    """What a new driver has: the file is all that goes from one to the next."""
    return Attempts(path / "mark.json", "posts", puts_aside=puts_aside, counts_deaths=counts_deaths)


def lives_until_named(path: Path, most: int, **options: bool) -> tuple[int, str]:
    """How many lives begin the batch and die in it, before one refuses to; and in which words."""
    for lives in range(most):
        try:
            life(path, **options).begin(2, 7, SPANS)
        except PoisonedBatch as poisoned:
            return lives, str(poisoned)
    return most, ""


def test_three_exceptions_in_a_row_name_the_batch(tmp_path: Path) -> None:
    for _ in range(FAILURES - 1):
        attempts = life(tmp_path)
        assert attempts.begin(2, 7, SPANS) == "try"
        assert attempts.failed("failure", "ValueError: no such symbol") is None
    attempts = life(tmp_path)
    assert attempts.begin(2, 7, SPANS) == "try"
    with pytest.raises(PoisonedBatch) as poisoned:
        attempts.failed("failure", "ValueError: no such symbol")
    assert str(poisoned.value).startswith(
        "micro-batch 7 of generation 2 (topic posts, partition 0, offsets 120 to 134) failed 3 times in a row, the "
        "last time: ValueError: no such symbol. Nothing of it is lost"
    )


def test_five_deaths_without_a_word_name_the_batch_before_the_host_gives_up(tmp_path: Path) -> None:
    lives, words = lives_until_named(tmp_path, 20)
    assert lives == DEATHS
    assert f"ended its driver 5 times in a row, the last time: {SILENT_DEATH}" in words
    from millrace.control.lives import MOST_LIVES

    assert lives < MOST_LIVES


def test_a_named_batch_is_tried_once_more_by_whoever_starts_the_stream_again(tmp_path: Path) -> None:
    lives_until_named(tmp_path, 20)
    assert lives_until_named(tmp_path, 20)[0] == 1
    attempts = life(tmp_path)
    assert attempts.begin(2, 7, SPANS) == "try"
    attempts.committed()
    assert lives_until_named(tmp_path, 20)[0] == DEATHS


@pytest.mark.parametrize("other", [(2, 8, SPANS), (3, 7, SPANS), (2, 7, {"0": (120, 136)})])
def test_only_the_same_batch_with_the_same_offsets_adds_up(tmp_path: Path, other: tuple) -> None:
    for _ in range(DEATHS):
        life(tmp_path).begin(2, 7, SPANS)
    assert life(tmp_path).begin(*other) == "try"
    assert lives_until_named(tmp_path, 20)[0] == DEATHS


def test_what_is_committed_or_asked_to_stop_or_the_environments_fault_does_not_count(tmp_path: Path) -> None:
    for _ in range(DEATHS - 1):
        attempts = life(tmp_path)
        attempts.begin(2, 7, SPANS)
    attempts.committed()
    for _ in range(3 * DEATHS):
        attempts = life(tmp_path)
        assert attempts.begin(2, 7, SPANS) == "try"
        attempts.excuse()
        attempts = life(tmp_path)
        assert attempts.begin(2, 7, SPANS) == "try"
        assert attempts.failed("environment", "Kafka") is None
    for _ in range(3 * DEATHS):
        assert life(tmp_path, counts_deaths=False).begin(2, 7, SPANS) == "try"


def test_with_put_aside_it_is_looked_into_once_and_named_if_that_does_not_help(tmp_path: Path) -> None:
    for _ in range(FAILURES - 1):
        attempts = life(tmp_path, puts_aside=True)
        attempts.begin(2, 7, SPANS)
        attempts.failed("failure", "ValueError: x")
    attempts = life(tmp_path, puts_aside=True)
    assert attempts.begin(2, 7, SPANS) == "try"
    assert attempts.failed("failure", "ValueError: x") == "look"
    with pytest.raises(PoisonedBatch, match="no record of it fails when its transform is tried apart"):
        attempts.failed("failure", "ValueError: x")
    for _ in range(DEATHS):
        assert life(tmp_path, puts_aside=True).begin(2, 9, SPANS) == "try"
    assert life(tmp_path, puts_aside=True).begin(2, 9, SPANS) == "look"
    with pytest.raises(PoisonedBatch):
        life(tmp_path, puts_aside=True).begin(2, 9, SPANS)


def test_a_driver_that_cannot_go_on_leaves_the_conclusion_to_the_next(tmp_path: Path) -> None:
    for _ in range(DEATHS):
        attempts = life(tmp_path, puts_aside=True)
        assert attempts.begin(2, 7, SPANS) == "try"
        assert attempts.failed("death", "its JVM died (killed by signal 9)", can_go_on=False) is None
    assert life(tmp_path, puts_aside=True).begin(2, 7, SPANS) == "look"
    with pytest.raises(
        PoisonedBatch, match=r"ended its driver 6 times in a row, the last time: the process died"
    ):
        life(tmp_path).begin(2, 7, SPANS)


@pytest.mark.parametrize("content", ["", "[]", '{"spans": {}}', '{"spans": 3}', '{"spans": {"0": 1}}'])
def test_a_mark_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "mark.json").write_text(content)
    assert life(tmp_path).begin(2, 7, SPANS) == "try"


def test_the_offsets_of_a_batch_are_read_off_sparks_own_log(tmp_path: Path) -> None:
    (tmp_path / "offsets").mkdir()
    (tmp_path / "offsets" / "7").write_text('v1\n{"batchWatermarkMs":0}\n{"posts":{"0":135,"1":4}}')
    assert planned_spans(tmp_path, "posts", 7, {"0": 120}) == {"0": (120, 135), "1": (0, 4)}
    assert planned_spans(tmp_path, "posts", 8, {"0": 120}) == {}
    (tmp_path / "offsets" / "8").write_text('v1\n{}\n{"logOffset":8}')
    assert planned_spans(tmp_path, "files:///in", 8, {}) == {}


def test_what_an_exception_says_about_the_batch() -> None:
    python = RuntimeError(
        "An error occurred while calling o1.collect.\n: org.apache.spark.api.python.PythonException: Traceback (most "
        'recent call last):\n  File "a.py", line 3, in fold\n    raise ValueError("x")\nValueError: no such symbol\n\n'
        "\tat org.apache.spark.api.python.BasePythonRunner"
    )
    assert (cause_of(python), last_line(python)) == ("failure", "ValueError: no such symbol")
    worker = RuntimeError("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)\nEOF")
    assert (cause_of(worker), "Python worker died" in last_line(worker)) == ("death", True)
    jvm = Py4JNetworkError("Answer from Java side is empty")
    assert (cause_of(jvm), last_line(jvm, -9)) == ("death", "its JVM died (killed by signal 9)")
    assert "out of memory" in last_line(ConnectionRefusedError(), 52)
    assert cause_of(OSError(28, "No space left on device")) == "environment"
    assert (cause_of(KeyError("x")), last_line(KeyError("x"))) == ("failure", "KeyError: 'x'")
    full = RuntimeError(
        f"{json.dumps('')}Traceback (most recent call last):\n  File\nOSError: [Errno 28] No space\n"
    )
    assert cause_of(full) == "environment"


class FromJava(Py4JJavaError):
    """As py4j raises it, without a JVM to ask."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("org.apache.kafka.common.errors.TimeoutException: Timeout of 60000ms expired", "environment"),
        ("java.io.IOException: No space left on device", "environment"),
        ("java.lang.OutOfMemoryError: Java heap space", "death"),
        ("org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)", "death"),
        ("PythonException: Traceback (most recent call last):\n  File\nValueError: x\n", "failure"),
    ],
)
def test_what_java_says_about_the_batch(text: str, cause: str) -> None:
    assert cause_of(FromJava(text)) == cause
    assert last_line(FromJava(text))
