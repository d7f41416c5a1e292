from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.control.alerts import TRIES, due, open_incident, with_alert, with_outcome
from millrace.control.health import Health, Thresholds
from millrace.control.history import KEPT_CHANGES, Circuit, History, with_health
from millrace.supervision import AlertRules
from tests.unit.control.samples import NOW, SPEC, desired

THRESHOLDS = Thresholds.of(SPEC)
ALL = AlertRules(connection="chat")
GOOD = Health("running", "it keeps up", True)
IDLE = Health("idle", "nothing waits", True)
FAILED = Health("failed", "boom", False)
STARTING = Health("starting", "for 5 s", False)
TRYING = Health("trying", "the new version of revision 2 is tried", False)
STALLED = Health("stalled", "nothing moves", False)
LAGGING = Health("lagging", "more comes in", False)


class Watched:
    """A stream that somebody looks at every 10 s, and the messages that were sent about it."""

    def __init__(self, rules: AlertRules | None = ALL, notifier: str | None = None) -> None:
        self.rules, self.problem = rules, notifier
        self.now, self.history, self.wanted = NOW, History(), desired()
        self.sent: list[tuple[int, str]] = []

    def stays(self, health: Health, seconds: float) -> Watched:
        for _ in range(round(seconds / 10)):
            self.history = with_health(self.history, self.now, health)
            alert = due(self.wanted, health, self.history, self.now, THRESHOLDS, self.rules)
            if alert is not None:
                self.history = with_alert(self.history, alert)
                if not alert.quiet:
                    self.sent.append((round((self.now - NOW).total_seconds()), alert.kind))
                    self.history = with_outcome(self.history, alert, self.problem)
                assert due(self.wanted, health, self.history, self.now, THRESHOLDS, self.rules) is None
            self.now += timedelta(seconds=10)
        # Through the store, as it is in life: nothing is remembered elsewhere.
        self.history = History.model_validate_json(self.history.to_body())
        return self

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind in self.sent]


def test_a_stream_that_is_well_sends_nothing():
    assert Watched().stays(STARTING, 60).stays(GOOD, 3600).stays(IDLE, 3600).sent == []


def test_a_version_that_is_tried_for_long_is_no_message_and_its_start_counts_for_itself():
    watched = Watched().stays(GOOD, 600).stays(TRYING, 500).stays(STARTING, 60).stays(GOOD, 600)
    assert watched.sent == []
    watched.stays(TRYING, 500).stays(FAILED, 200)
    assert watched.sent == [(600 + 500 + 60 + 600 + 500 + 120, "down")]


def test_a_crash_that_is_mended_within_the_time_of_a_start_is_no_message():
    watched = Watched().stays(GOOD, 600)
    for _ in range(5):
        watched.stays(FAILED, 20).stays(STARTING, 60).stays(GOOD, 600)
    assert watched.sent == []


def test_down_is_said_once_and_recovered_once():
    watched = Watched().stays(GOOD, 600).stays(FAILED, 7200).stays(STARTING, 30).stays(GOOD, 7200)
    assert watched.sent == [(600 + 120, "down"), (600 + 7200 + 30 + 120, "recovered")]


@pytest.mark.parametrize(("health", "kind"), [(STALLED, "stalled"), (LAGGING, "lagging")])
def test_stalled_and_lagging_are_said_at_once_since_their_own_time_has_passed(health, kind):
    watched = Watched().stays(GOOD, 600).stays(health, 3600).stays(GOOD, 3600)
    assert watched.sent == [(600, kind), (600 + 3600 + 120, "recovered")]


def test_a_stream_that_flaps_is_one_incident():
    watched = Watched().stays(GOOD, 600)
    for _ in range(200):
        watched.stays(STALLED, 60).stays(GOOD, 60).stays(FAILED, 180).stays(STARTING, 30).stays(GOOD, 90)
    watched.stays(GOOD, 600)
    assert watched.kinds == ["stalled", "down", "recovered"]


def test_an_incident_may_become_another_kind_of_trouble():
    watched = Watched().stays(LAGGING, 600).stays(STALLED, 600).stays(FAILED, 600).stays(LAGGING, 600)
    assert watched.kinds == ["lagging", "stalled", "down"]


def test_the_open_circuit_is_said_once_and_holds_back_the_recovery():
    watched = Watched().stays(FAILED, 600)
    circuit = Circuit(opened_at=watched.now, failures=12, reason="boom")
    watched.history = watched.history.model_copy(update={"circuit": circuit})
    watched.stays(FAILED, 3600).stays(GOOD, 300).stays(FAILED, 3600).stays(GOOD, 600)
    assert watched.kinds == ["down", "circuit_open"]
    watched.history = watched.history.model_copy(update={"circuit": None})
    assert watched.stays(GOOD, 600).kinds == ["down", "circuit_open", "recovered"]


def test_a_stream_that_somebody_stops_ends_its_incident_without_a_word():
    watched = Watched().stays(FAILED, 600)
    watched.wanted = desired("stopped")
    watched.stays(Health("failed", "boom", False), 3600)
    assert watched.kinds == ["down"]
    assert not open_incident(watched.history)
    watched.wanted = desired()
    watched.stays(GOOD, 600).stays(FAILED, 600)
    assert watched.kinds == ["down", "down"]


def test_only_what_is_wanted_is_said_and_an_incident_ends_all_the_same():
    watched = Watched(AlertRules(connection="chat", on=("down",)))
    for _ in range(2):
        watched.stays(STALLED, 600).stays(FAILED, 600).stays(GOOD, 600)
    assert watched.kinds == ["down", "down"]
    assert Watched(None).stays(FAILED, 7200).history.alerts == ()


def test_a_notifier_that_fails_is_tried_a_few_times_ever_more_rarely():
    watched = Watched(notifier="refused").stays(FAILED, 7200)
    assert watched.sent == [(120, "down"), (180, "down"), (300, "down"), (540, "down")]
    assert len(watched.sent) == TRIES
    (kept,) = watched.history.alerts
    assert (kept.tries, kept.sent, kept.problem) == (TRIES, False, "refused")


def test_a_notifier_that_is_back_gets_it_once_more():
    watched = Watched(notifier="refused").stays(FAILED, 130)
    watched.problem = None
    assert watched.stays(FAILED, 7200).sent == [(120, "down"), (180, "down")]


def test_whoever_died_while_sending_may_have_sent_it_so_it_is_not_repeated():
    history = with_health(History(), NOW, FAILED)
    later = NOW + timedelta(minutes=5)
    alert = due(desired(), FAILED, history, later, THRESHOLDS, ALL)
    assert alert.kind == "down"
    history = with_alert(history, alert)
    assert due(desired(), FAILED, history, later + timedelta(hours=1), THRESHOLDS, ALL) is None


def test_the_words_of_an_alert_name_cause_time_and_what_to_do():
    history = with_health(History(), NOW, FAILED)
    later = NOW + timedelta(minutes=5)
    down = due(desired(), FAILED, history, later, THRESHOLDS, ALL)
    assert down.text == (
        "It has not been at work since 2026-03-01 12:00:00 UTC: failed: boom. Starts are tried with a growing "
        "back-off"
    )
    history = with_alert(history, down).model_copy(
        update={"circuit": Circuit(opened_at=later, failures=12, reason="it should run, but boom")}
    )
    text = due(desired(), FAILED, history, later, THRESHOLDS, ALL).text
    assert "12 starts in a row did not last" in text
    assert "made because it should run, but boom" in text
    assert "order start, restart or redeploy" in text
    long = due(desired(), Health("stalled", "x" * 9000, False), history, later, THRESHOLDS, ALL)
    assert len(long.text) < 2500


healths = st.sampled_from([GOOD, IDLE, FAILED, STARTING, STALLED, LAGGING])


@given(st.lists(st.tuples(healths, st.integers(1, 60).map(lambda tens: 10 * tens)), max_size=25))
def test_whatever_happens_each_incident_has_each_kind_once_and_ends_well(spells):
    watched = Watched()
    for health, seconds in spells:
        watched.stays(health, seconds)
    watched.stays(GOOD, 300)
    incident: set[str] = set()
    for kind in watched.kinds:
        assert kind not in incident
        incident.add(kind)
        if kind == "recovered":
            assert len(incident) > 1
            incident = set()
    assert not incident
    assert len(watched.history.health) <= KEPT_CHANGES
