"""What a driver's exit code says to the stream host. Anything that is not here is a crash.

The codes in `NOT_RESTARTED` are deliberate ends: starting the same driver again at once would end the
same way, so the stream host leaves them to Airflow (supervisord's `exitcodes`).
"""

from __future__ import annotations

STOPPED = 0
"""Asked to stop, by desired.json or SIGTERM; the micro-batch at hand was finished."""
FENCED = 10
"""A greater driver epoch exists: another driver has taken over."""
BAD_CONFIGURATION = 11
"""The catalog entry, the environment or the checkpoint does not allow this driver to run."""
POISONED_BATCH = 12
"""One micro-batch fails each time it is tried; running it again would fail again."""
FINISHED = 14
"""Of a feed: its input is over, and everything of it is in Kafka."""
GAVE_UP = 13
"""Said by the stream host, not by a driver: it crashed too often in a row, Airflow decides what next."""

NOT_RESTARTED = (STOPPED, FENCED, BAD_CONFIGURATION, POISONED_BATCH, GAVE_UP, FINISHED)

_WORDS = {
    STOPPED: "stopped as asked",
    FENCED: "fenced: a newer driver has taken over",
    BAD_CONFIGURATION: "bad configuration",
    POISONED_BATCH: "a micro-batch that fails each time (poisoned)",
    FINISHED: "finished: its input is over",
    GAVE_UP: "crashed several times in a row, so the stream host gave up",
}


def in_words(exit_code: int) -> str:
    """What an exit code means, for a log line; negative codes are signals, as subprocess has them."""
    if exit_code < 0:
        return f"killed by signal {-exit_code}"
    return _WORDS.get(exit_code, f"crashed with exit code {exit_code}")
