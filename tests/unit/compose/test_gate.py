"""The gate lets nothing pass that does not work, and says what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.catalog import load_catalog
from millrace.compose import gate
from millrace.compose.gate import NotReady, pass_through
from millrace.compose.readiness import Sight, has_a_past, left_alone, not_working
from millrace.control.view import StreamView
from millrace.settings import PROJECT_ROOT
from tests.unit.control import samples

CATALOG = load_catalog(PROJECT_ROOT / "catalog")


def sight(
    paused: bool = False, age: float = 2, hours: int = 0, wanted: str = "running", **status: Any
) -> Sight:
    said = samples.status(**({"state": "running", "age": age} | status))
    return Sight(paused, StreamView("bikes", samples.NOW, samples.desired(wanted), status=said), hours)


WORKS = {"records": 500, "facts": 20}


def test_a_stream_that_counts_works() -> None:
    assert not_working("bikes", sight(**WORKS), fed=True) is None


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (
            Sight(False, StreamView("bikes", samples.NOW), 0),
            "no driver has said a word yet; see the DAG stream__bikes",
        ),
        (sight(state="failed", error="no topic"), "failed: no topic; what it printed: logs/stream-bikes.log"),
        (sight(state="starting", started_at=samples.ago(20)), "bikes is starting: "),
        (sight(age=300, **WORKS), "has not written for 5 min"),
        (sight(lag=9, still_seconds=1800, **WORKS), "bikes is stalled: 9 records wait"),
        (sight(), "has counted nothing: does its feed run"),
    ],
)
def test_what_a_stream_lacks_is_said(seen: Sight, says: str) -> None:
    assert says in (not_working("bikes", seen, fed=True) or "")


def test_a_driver_that_goes_on_where_another_stopped_need_not_count_unless_something_waits() -> None:
    assert not_working("bikes", sight(hours=3, lag=0), fed=True) is None
    for waits in (7, None):
        assert "has counted nothing" in (
            not_working("bikes", sight(hours=3, lag=waits, still_seconds=1), fed=True) or ""
        )


def test_without_a_feed_of_ours_a_stream_may_wait_for_its_first_record() -> None:
    assert not_working("bikes", sight(), fed=False) is None


def test_what_a_person_stopped_or_paused_is_left_alone() -> None:
    assert "stays stopped, as ada wanted" in (left_alone("bikes", sight(wanted="stopped")) or "")
    assert "is paused" in (left_alone("bikes", sight(paused=True)) or "")
    assert left_alone("bikes", sight()) is None


def test_hours_are_expected_at_once_only_of_feeds_that_run_and_bring_some() -> None:
    assert has_a_past(CATALOG, "city", ["city"])
    assert not has_a_past(CATALOG, "city", ["orders"])
    assert not has_a_past(CATALOG, "bluesky", ["bluesky"])
    assert not has_a_past(CATALOG, None, ["city"])


class Steps:
    """A gate whose second step works at the third look."""

    def __init__(self, works: bool) -> None:
        self.looks = 0
        self.works = works
        self.after = False

    def steps(self) -> list[tuple[str, Any]]:
        return [("first", lambda: "fine"), ("second", self.second), ("third", self.third)]

    def second(self) -> str:
        self.looks += 1
        if self.works and self.looks == 3:
            return "at last"
        raise NotReady("the broker is away: start it")

    def third(self) -> str:
        self.after = True
        return "done"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "POLL", 0.01)


def test_it_waits_step_by_step_and_says_once_for_what() -> None:
    said: list[str] = []
    steps: Any = Steps(works=True)
    assert pass_through(steps, 60, said.append) is None
    assert said == [
        "✓ first: fine",
        "  waiting: the broker is away: start it",
        "✓ second: at last",
        "✓ third: done",
    ]


def test_what_stays_missing_is_the_answer_and_nothing_after_it_is_tried() -> None:
    steps: Any = Steps(works=False)
    assert pass_through(steps, 0.05, lambda _: None) == "the broker is away: start it"
    assert not steps.after
