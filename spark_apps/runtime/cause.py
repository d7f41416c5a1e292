"""What an exception during a micro-batch says about the batch, and the line of it that a person needs."""

from __future__ import annotations

import re

from py4j.protocol import Py4JError, Py4JJavaError

from spark_apps.runtime.poison import Cause

WORKER_DIED = ("Python worker exited unexpectedly", "Python worker process terminated")
OUT_OF_MEMORY = "java.lang.OutOfMemoryError"
"""It may be the batch's, or whatever else was in the heap."""
NOT_THE_BATCH = (
    "org.apache.kafka",
    "org.apache.spark.sql.kafka010",
    "No space left on device",
    "java.io.IOException",
    "java.net.",
    "SparkContext was shut down",
    "OSError:",
    "ConnectionError:",
)
"""Kafka, the disk and the network: another attempt may well succeed."""
EXITS_OF_NO_MEMORY = (3, 52)
"""Exit codes of the JVM's own -XX:+ExitOnOutOfMemoryError, and of org.apache.spark.util.SparkExitCode.OOM."""
_TRACEBACK = "Traceback (most recent call last)"


def is_jvm_gone(error: BaseException) -> bool:
    """Whether the JVM did not answer at all: nothing more can be done in this driver."""
    return isinstance(error, Py4JError | ConnectionError | EOFError) and not isinstance(error, Py4JJavaError)


def cause_of(error: BaseException) -> Cause:
    """Whether the batch is to blame, or its process died, or something around it failed."""
    if is_jvm_gone(error):
        return "death"
    if isinstance(error, OSError):
        return "environment"
    text = str(error)
    if any(words in text for words in (*WORKER_DIED, OUT_OF_MEMORY)):
        return "death"
    if not isinstance(error, Py4JJavaError) or _TRACEBACK in text:
        return "environment" if last_line(error).startswith(("OSError", "ConnectionError")) else "failure"
    return "environment" if any(words in text for words in NOT_THE_BATCH) else "failure"


def last_line(error: BaseException, jvm_exit: int | None = None) -> str:
    """Such as 'ValueError: no such symbol', from under whatever Spark has wrapped around it."""
    text = str(error)
    if any(words in text for words in WORKER_DIED):
        return "its Python worker died (killed, out of memory, or a crash in native code)"
    if OUT_OF_MEMORY in text:
        return "its JVM ran out of memory: raise driver_memory, or lower max_messages_per_batch"
    if is_jvm_gone(error):
        return f"its JVM died{_jvm_end(jvm_exit)}"
    if _TRACEBACK in text:
        raised = _raised(text.rpartition(_TRACEBACK)[2])
        if raised:
            return raised
    if isinstance(error, Py4JJavaError):
        return re.sub(r"\s+", " ", str(error.java_exception) if _answers(error) else text)[:1000]
    return f"{type(error).__name__}: {text[:1000]}"


def _raised(below: str) -> str | None:
    """The exception at the end of a traceback: its first line that is not indented, with what follows of it."""
    lines = below.splitlines()[1:]
    for number, line in enumerate(lines):
        if line and not line[0].isspace():
            words = [line]
            for more in lines[number + 1 :]:
                if not more or more.startswith("\tat "):
                    break
                words.append(more.strip())
            return " ".join(words)[:1000]
    return None


def _answers(error: Py4JJavaError) -> bool:
    try:
        return bool(str(error.java_exception))
    except Exception:
        return False


def _jvm_end(code: int | None) -> str:
    if code is None:
        return " (killed, or out of memory)"
    if code in EXITS_OF_NO_MEMORY:
        return " (out of memory: raise driver_memory, or lower max_messages_per_batch)"
    return f" (killed by signal {-code})" if code < 0 else f" (exit code {code})"
