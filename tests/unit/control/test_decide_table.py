"""Every pair of what is desired and what is observed, with the one thing to do about it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.control import exit_codes
from millrace.control.decide import Observed, decide
from millrace.control.health import HealthState, Thresholds, assess
from millrace.control.history import History
from millrace.control.process import ProcessState
from tests.unit.control.samples import NOW, SPEC, ago, desired, preflight, process, status

DESIRED = {
    "none": None,
    "run": desired(),
    "newer": desired(spec_revision=2),
    "stop": desired("stopped", at=ago(10)),
    "late": desired("stopped", at=ago(100)),
}
"""run: the driver's own revision is the desired one. newer: there is a newer one. stop: asked a moment ago. late: asked
longer ago than a driver may take."""

HEALTH = {
    "nothing": None,
    "starting": status("starting", started_at=ago(20)),
    "running": status(lag=7, still_seconds=1),
    "idle": status(lag=0, still_seconds=0),
    "lagging": status(lag=99_000, still_seconds=1, lag_lows=tuple(range(50_000, 100_000, 2_500))),
    "stalled": status(lag=7, still_seconds=600),
    "stopping": status("stopping"),
    "left alone": status(lag=7, still_seconds=1, host_gone_at=ago(60)),
    "silent": status(age=300),
    "trying": status("stopped", age=300, exit_code=0),
    "tried": status("stopped", age=300, exit_code=0),
    "overtime": status("stopped", age=900, exit_code=0),
    "mute try": status("stopped", age=300, exit_code=0),
    "stopped": status("stopped", age=70, exit_code=0),
    "finished": status("finished", age=70, exit_code=exit_codes.FINISHED),
    "crashed": status("failed", age=70, exit_code=1),
    "refused": status("failed", age=70, exit_code=exit_codes.BAD_CONFIGURATION),
    "fenced": status("fenced", age=70, exit_code=exit_codes.FENCED),
}
PREFLIGHT = {
    "trying": preflight(pid=5000),
    "tried": preflight("ended", age=20, pid=5000),
    "overtime": preflight(pid=5000, for_seconds=661),
    "mute try": preflight(pid=5000, age=31),
}
"""Said by the process that the columns call other and mute. tried: it is through with it a moment ago. overtime: it
is at it for longer than it may be. mute try: it says nothing any more."""

STATE_OF: dict[str, HealthState] = {
    "nothing": "stopped",
    "left alone": "running",
    "tried": "stopped",
    "overtime": "stopped",
    "mute try": "stopped",
    "crashed": "failed",
    "refused": "failed",
}
"""Where the word of the table is not the state itself, for a stream that should run."""

PROCESS = {
    "unasked": {},
    "away": {"host_problem": "the host is away"},
    "RUNNING": {"process": process(ProcessState.RUNNING)},
    "other": {"process": process(ProcessState.RUNNING, pid=5000, for_seconds=20)},
    "mute": {"process": process(ProcessState.RUNNING, pid=5000, for_seconds=200)},
    "STARTING": {"process": process(ProcessState.STARTING)},
    "BACKOFF": {"process": process(ProcessState.BACKOFF)},
    "STOPPING": {"process": process(ProcessState.STOPPING)},
    "UNKNOWN": {"process": process(ProcessState.UNKNOWN)},
    "STOPPED": {"process": process(ProcessState.STOPPED)},
    "FATAL": {"process": process(ProcessState.FATAL)},
    "ended": {"process": process(ProcessState.EXITED, exit_code=exit_codes.STOPPED)},
    "crashed": {"process": process(ProcessState.EXITED, exit_code=1)},
    "refused": {"process": process(ProcessState.EXITED, exit_code=exit_codes.BAD_CONFIGURATION)},
    "gave up": {"process": process(ProcessState.EXITED, exit_code=exit_codes.GAVE_UP)},
    "fenced": {"process": process(ProcessState.EXITED, exit_code=exit_codes.FENCED)},
}
"""unasked: as the triggerer sees it. other: the host runs one that is not the one that spoke last, and young. mute: one
that has not spoken since it was started long ago."""

WORD = {"L": "leave", "w": "wait", "S": "start", "R": "restart", "X": "stop"}

TABLE = """
unasked away RUNNING other mute STARTING BACKOFF STOPPING UNKNOWN STOPPED FATAL ended crashed refused gave_up fenced
run nothing   S w R w R w w w w S S S w S S S
run starting  L L L w R w w w w S S S w S S L
run running   L L L w R w w w w S S S w S S L
run idle      L L L w R w w w w S S S w S S L
run lagging   L L L w R w w w w S S S w S S L
run stalled   L L L w R w w w w S S S w S S L
run stopping  L L L w R w w w w S S S w S S L
run left_alone S w L w R w w w w S S S w S S S
run silent    R w R w R w w w w S S S w S S S
run trying    w w R w w w w w w S S S w S S S
run tried     S w R w w w w w w S S S w S S S
run overtime  S w R w R w w w w S S S w S S S
run mute_try  S w R w R w w w w S S S w S S S
run stopped   S w R w R w w w w S S S w S S S
run finished  L L L L L L L L L L L L L L L L
run crashed   S w R w R w w w w S S S w S S S
run refused   S w R w R w w w w S S S w S S S
run fenced    S w R w R w w w w S S S w S S S
"""


def expected() -> dict[tuple[str, str, str], str]:
    header, *rows = TABLE.strip().splitlines()
    columns = [name.replace("_", " ") for name in header.split()]
    found = {}
    for row in rows:
        wanted, health, *words = row.split()
        health = health.replace("_", " ")
        assert len(words) == len(columns), row
        for column, word in zip(columns, words, strict=True):
            found[wanted, health, column] = WORD[word]
    # A newer revision replaces whatever lives, has what finished run again, and otherwise is as any.
    for (_, health, column), word in list(found.items()):
        lives = health in ("starting", "running", "idle", "lagging", "stalled", "left alone", "stopping")
        if column in ("unasked", "RUNNING") and lives:
            word = "restart"
        elif column == "away" and lives:
            word = "wait"
        elif column == "fenced" and lives:
            word = "start"
        elif health == "finished":
            word = found["run", "stopped", column]
        found["newer", health, column] = word
    # What should not be there is given its time, and then ended; only the host knows that it is gone.
    for health in HEALTH:
        for column, observed in PROCESS.items():
            gone = column in ("STOPPED", "FATAL", "ended", "crashed", "refused", "gave up", "fenced")
            found["stop", health, column] = "leave" if gone else "wait"
            waits = column in ("away", "STOPPING")
            found["late", health, column] = "leave" if gone else "wait" if waits else "stop"
            found["none", health, column] = "leave"
            assert observed is not None
    return found


EXPECTED = expected()


def test_the_table_has_every_pair():
    assert len(EXPECTED) == len(DESIRED) * len(HEALTH) * len(PROCESS) == 1440
    states = {judged(name) for name in HEALTH} | {"stopped"}
    assert states == set(HealthState.__args__), "every state that there is"
    assert {one["process"].state for one in PROCESS.values() if "process" in one} == set(ProcessState)


def judged(name: str) -> HealthState:
    return assess(desired(), HEALTH[name], NOW, Thresholds.of(SPEC), PREFLIGHT.get(name)).state


@pytest.mark.parametrize("name", HEALTH)
def test_the_rows_are_what_they_are_called(name):
    assert judged(name) == STATE_OF.get(name, name)


@pytest.mark.parametrize("wanted", DESIRED)
@pytest.mark.parametrize("health", HEALTH)
def test_every_pair_has_its_one_action(wanted, health):
    for column, seen in PROCESS.items():
        observed = Observed(HEALTH[health], 3, **seen, preflight=PREFLIGHT.get(health))
        action = decide(DESIRED[wanted], observed, History(), NOW, Thresholds.of(SPEC))
        assert action.kind == EXPECTED[wanted, health, column], (wanted, health, column, action)
        assert action.reason
        if action.kind == "wait":
            assert NOW < action.until <= NOW + timedelta(minutes=2), "bounded, and not over already"
