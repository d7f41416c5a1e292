from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.control import exit_codes
from millrace.control.decide import Observed, decide
from millrace.control.health import Health
from millrace.control.history import History, with_health, with_start
from millrace.control.process import ProcessState
from tests.unit.control.samples import NOW, ago, desired, process, status

NOTHING = History()
RUNNING, STOPPED, EXITED, FATAL, BACKOFF, STARTING, STOPPING = (
    ProcessState(name)
    for name in ("RUNNING", "STOPPED", "EXITED", "FATAL", "BACKOFF", "STARTING", "STOPPING")
)
ENDED = [status("stopped"), status("failed", error="boom"), status("fenced")]
WORKING = [
    status("running"),
    status("running", lag=5, last_progress_at=ago(3)),
    status("starting", started_at=ago(9)),
]


def started(seconds: float, epoch_before: int = 3, times: int = 1) -> History:
    history = NOTHING
    for _ in range(times):
        history = with_start(
            history,
            ago(seconds),
            kind="start",
            reason="a test",
            epoch_before=epoch_before,
            spec_revision=1,
            jitter=1,
        )
    return history


def act(observed: Observed, history: History = NOTHING, wanted=None):
    return decide(wanted or desired(), observed, history, NOW)


def kind(status_=None, process_=None, history=NOTHING, wanted=None, **more):
    return act(Observed(status_, 3, process=process_, **more), history, wanted).kind


@pytest.mark.parametrize("state", [STOPPED, EXITED, FATAL])
@pytest.mark.parametrize("observed", [None, *ENDED, status("running", age=300)])
def test_a_driver_that_is_not_running_is_started(state, observed):
    assert kind(observed, process(state, exit_code=exit_codes.STOPPED)) == "start"


@pytest.mark.parametrize("observed", WORKING)
def test_a_driver_at_work_is_left_alone(observed):
    assert kind(observed, process(RUNNING)) == "leave"
    assert kind(observed) == "leave"


def test_a_stalled_driver_is_left_alone_but_said_to_be_stalled():
    action = act(Observed(status(lag=9, last_progress_at=ago(900)), 3, process(RUNNING)))
    assert action.kind == "leave"
    assert "nothing has moved" in action.reason


@pytest.mark.parametrize("state", [STARTING, BACKOFF, STOPPING])
@pytest.mark.parametrize("observed", [None, *ENDED, *WORKING, status(age=300)])
def test_what_the_host_is_doing_by_itself_is_waited_for(state, observed):
    assert kind(observed, process(state)) == "wait"


@pytest.mark.parametrize("observed", [None, *ENDED, *WORKING])
def test_a_crash_that_the_host_has_just_seen_is_left_to_it(observed):
    assert kind(observed, process(EXITED, exit_code=-1)) == "wait"
    assert kind(observed, process(EXITED, exit_code=1)) == "wait"


def test_a_silent_driver_is_restarted():
    assert kind(status(age=60), process(RUNNING)) == "restart"
    assert kind(status(age=60)) == "restart"


def test_a_process_that_has_yet_to_report_gets_the_time_a_jvm_needs():
    young, old = process(RUNNING, pid=5000, for_seconds=30), process(RUNNING, pid=5000, for_seconds=120)
    assert kind(None, young) == "wait"
    assert kind(status(age=300), young) == "wait"
    assert kind(None, old) == "restart"
    assert kind(status("failed", age=300), old) == "restart"


def test_a_process_whose_driver_has_ended_is_given_time_to_go_and_then_killed():
    assert kind(status("failed", age=5), process(RUNNING)) == "wait"
    assert kind(status("failed", age=90), process(RUNNING)) == "restart"


def test_a_live_driver_outside_the_host_is_taken_over_by_fencing():
    action = act(Observed(status("running"), 3, process=process(STOPPED)))
    assert action.kind == "start"
    assert "fencing" in action.reason


def test_a_driver_that_was_fenced_by_a_live_one_does_not_fight_back():
    elsewhere = status("running", epoch=4, pid=9999, host="host-2")
    assert kind(elsewhere, process(EXITED, exit_code=exit_codes.FENCED)) == "leave"
    assert kind(status("running", epoch=4, age=99), process(EXITED, exit_code=exit_codes.FENCED)) == "start"


def test_a_driver_that_outlived_its_host_is_followed_by_one_under_the_host():
    left = status(host_gone_at=ago(40))
    action = act(Observed(left, 3))
    assert (action.kind, "the stream host that started it is gone" in action.reason) == ("start", True)
    assert kind(left, history=started(5)) == "wait", "the one that follows has yet to report"
    assert kind(left, process(ProcessState.EXITED, exit_code=exit_codes.FENCED)) == "start"


def test_a_host_that_is_gone_and_stays_away_is_looked_for_more_rarely():
    for gone, pause in ((1, 15), (100, 50), (10_000, 120)):
        action = act(Observed(status(age=0, host_gone_at=ago(gone)), 3, host_problem="the host is away"))
        assert (action.kind, action.until - NOW) == ("wait", timedelta(seconds=pause))


def test_after_a_start_the_driver_gets_time_to_report_before_anything_else():
    assert kind(status("failed", age=600), history=started(20)) == "wait"
    assert kind(status("failed", age=600), history=started(120)) == "start"
    assert kind(status("failed", age=20, epoch=4, exit_code=12), history=started(20)) == "start", (
        "the new driver has spoken"
    )


def test_a_crash_is_left_to_the_host_for_a_moment():
    assert kind(status("failed", age=3, exit_code=1)) == "wait"
    assert kind(status("failed", age=3, exit_code=exit_codes.POISONED_BATCH)) == "start"
    assert kind(status("failed", age=31, exit_code=1)) == "start"


def test_starts_are_backed_off_longer_each_time():
    crashed = process(EXITED, exit_code=exit_codes.GAVE_UP)
    waits = []
    for times in range(1, 9):
        history = started(0, times=times)
        action = act(Observed(status("failed"), 4, process=crashed), history)
        assert action.kind == "wait"
        waits.append((action.until - NOW).total_seconds())
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128]
    assert kind(status("failed"), crashed, started(70, times=7)) == "start"


def test_an_open_circuit_is_said_and_tried_rarely():
    crashed = process(EXITED, exit_code=exit_codes.GAVE_UP)
    history = started(60, times=12)
    action = act(Observed(status("failed"), 4, process=crashed), history)
    assert (action.kind, (action.until - NOW).total_seconds()) == ("wait", 14 * 60)
    assert "the circuit is open since 11:59 UTC (12 starts did not last); the next try is at 12:14" in (
        action.reason
    )
    assert kind(status("failed"), crashed, started(15 * 60, times=12)) == "start"
    assert kind(status("failed"), crashed, history, desired(spec_revision=2)) == "start", "somebody ordered"


def test_a_restart_that_was_cut_off_between_stop_and_start_is_taken_up():
    begun = with_start(NOTHING, ago(50), kind="restart", reason="", epoch_before=3, spec_revision=1, jitter=1)
    assert kind(status("stopped", age=20, exit_code=0), history=begun) == "wait"
    assert kind(status("stopped", age=31, exit_code=0), history=begun) == "start"
    assert kind(status("stopped", age=3, exit_code=0), process(STOPPED), begun) == "start", "the host knows"


def test_a_store_clock_that_was_set_back_holds_nothing_up():
    tomorrow = ago(-86400)
    crashed = process(EXITED, exit_code=exit_codes.GAVE_UP)
    ahead = started(-86400, times=7)
    assert kind(status("failed", age=-86400), crashed, ahead) == "start"
    assert kind(status("failed", age=-86400, exit_code=13), history=ahead) == "start"
    assert kind(status(), process(RUNNING), wanted=desired("stopped", at=tomorrow)) == "stop"
    silent = status(age=-86400)
    assert kind(silent, process(RUNNING)) == "wait", "a heartbeat may be on its way"
    known = with_health(NOTHING, ago(31), Health("silent", "no word", False))
    assert kind(silent, process(RUNNING), known) == "restart"
    assert kind(silent, None, known) == "restart"


def test_a_host_clock_that_was_set_back_holds_nothing_up():
    ahead = process(RUNNING, pid=5000, for_seconds=-86400)
    assert kind(None, ahead) == "wait"
    assert kind(None, ahead, with_health(NOTHING, ago(91), Health("stopped", "", False))) == "restart"


def test_a_changed_desired_state_is_tried_at_once():
    crashed = process(EXITED, exit_code=exit_codes.BAD_CONFIGURATION)
    history = started(30, times=7)
    assert kind(status("failed"), crashed, history) == "wait"
    assert kind(status("failed"), crashed, history, desired(spec_revision=2)) == "start"


@pytest.mark.parametrize("observed", WORKING)
def test_a_driver_of_an_earlier_revision_is_followed_by_one_of_the_present(observed):
    wanted = desired(spec_revision=2, why="restart")
    action = act(Observed(observed, 3, process=process()), wanted=wanted)
    assert action.kind == "restart"
    assert "its driver of revision 1 is to be followed by one of revision 2 (ada: restart)" in action.reason
    assert kind(observed, None, wanted=wanted) == "restart", "the triggerer sees it as well"
    ordered = History(starts=(started(0).starts[0].model_copy(update={"spec_revision": 2}),))
    assert kind(observed, process(), ordered, wanted) == "wait", "it was ordered a moment ago"


def test_a_driver_outside_the_host_of_an_earlier_revision_is_taken_over():
    wanted = desired(spec_revision=2)
    assert kind(status(pid=1), process(EXITED, exit_code=10)) == "leave"
    assert kind(status(pid=1), process(EXITED, exit_code=10), wanted=wanted) == "start"


def test_without_the_host_a_driver_of_an_earlier_revision_is_waited_for_and_not_asked_about_all_the_time():
    action = act(Observed(status(), 3, host_problem="it is away"), wanted=desired(spec_revision=2))
    assert (action.kind, action.until) == ("wait", NOW + timedelta(minutes=2))


def test_an_unreachable_host_does_not_disturb_a_driver_at_work():
    assert kind(status(), host_problem="the host is away") == "leave"
    action = act(Observed(status(age=300), 3, host_problem="the host is away"))
    assert action.kind == "wait"
    assert "the host is away" in action.reason


def test_a_host_that_stays_away_is_looked_for_more_rarely():
    dead, waits = Observed(status(age=300), 3, host_problem="the host is away"), []
    for seconds in (0, 20, 60, 200, 3600):
        gone = with_health(NOTHING, ago(seconds), Health("silent", "no word", False))
        waits.append((act(dead, gone).until - NOW).total_seconds())
    assert waits == [15, 15, 30, 100, 120]


def test_stopping_is_left_to_the_driver_until_its_time_is_up():
    just_now, long_ago = desired("stopped", at=ago(10)), desired("stopped", at=ago(100))
    for alive in (process(RUNNING), None):
        assert kind(status(), alive, wanted=just_now) == "wait"
        assert kind(status(), alive, wanted=long_ago) == "stop"
    assert kind(status(), process(STOPPING), wanted=long_ago) == "wait"
    assert kind(status("stopped"), process(EXITED), wanted=long_ago) == "leave"


@pytest.mark.parametrize("observed", [None, status("stopped"), status("failed"), status(age=300)])
def test_a_stop_is_over_when_the_host_has_said_so(observed):
    """Whoever hangs is silent, and whoever hangs at the very end has said its last word before."""
    wanted = desired("stopped", at=ago(100), spec_revision=4)
    assert kind(observed, wanted=wanted) == "stop", "somebody has to ask the host"
    assert kind(observed, process(RUNNING), wanted=wanted) == "stop"
    assert kind(observed, process(EXITED), wanted=wanted) == "leave"
    assert kind(observed, wanted=wanted, host_problem="the host is away") == "wait"
    assert kind(observed, None, NOTHING.model_copy(update={"gone_revision": 4}), wanted) == "leave"
    assert kind(observed, None, NOTHING.model_copy(update={"gone_revision": 2}), wanted) == "stop"


def test_a_stream_that_was_never_deployed_is_left():
    assert decide(None, Observed(status(), 3, process=process(EXITED)), NOTHING, NOW).kind == "leave"


states = st.sampled_from(["starting", "running", "stopping", "stopped", "failed", "fenced"])
statuses = st.none() | st.builds(
    status,
    states,
    age=st.floats(0, 1000),
    epoch=st.integers(1, 9),
    pid=st.sampled_from([4711, 9999]),
    lag=st.none() | st.integers(0, 10**6),
    exit_code=st.none() | st.sampled_from([0, 1, 10, 11, 12, 13]),
    last_progress_at=st.none() | st.floats(0, 3600).map(ago),
)
processes = st.none() | st.builds(
    process,
    st.sampled_from(list(ProcessState)),
    for_seconds=st.floats(0, 1000),
    exit_code=st.none() | st.sampled_from([-1, 0, 1, 10, 11, 12, 13]),
)
histories = st.builds(started, st.floats(0, 2000), epoch_before=st.integers(0, 9), times=st.integers(0, 9))
wanteds = st.builds(
    desired,
    st.sampled_from(["running", "stopped"]),
    at=st.floats(0, 5000).map(ago),
    spec_revision=st.integers(1, 2),
)


@given(wanteds, statuses, processes, histories, st.none() | st.just("the host is away"))
def test_whatever_is_observed_nothing_rash_is_done(wanted, observed, process_, history, host_problem):
    process_ = None if host_problem else process_
    action = decide(wanted, Observed(observed, 9, None, process_, host_problem), history, NOW)
    assert action.reason
    if action.kind == "wait":
        assert action.until is not None
        assert action.until > NOW, "a wait that is over would spin"
    if wanted.state == "stopped":
        assert action.kind not in ("start", "restart")
    else:
        assert action.kind != "stop"
    if action.kind == "start" and process_ is not None:
        assert process_.state in (STOPPED, EXITED, FATAL), "an old process may still be alive"
    if action.kind in ("start", "restart"):
        last = history.last_start
        assert last is None or last.not_before <= NOW or wanted.spec_revision != last.spec_revision, (
            "back-off holds"
        )
        assert not host_problem
    if (
        process_ is not None
        and process_.state is RUNNING
        and observed is not None
        and wanted.state == "running"
    ):
        mine = observed.status.pid == process_.pid and not observed.status.ended
        ours = observed.status.spec_revision == wanted.spec_revision
        if mine and ours and observed.age < timedelta(seconds=30):
            assert action.kind == "leave", "a driver that speaks is never touched"


@given(wanteds, statuses, histories)
def test_an_order_followed_at_once_is_not_given_again(wanted, observed, history):
    action = decide(wanted, Observed(observed, 9), history, NOW)
    if action.kind not in ("start", "restart"):
        return
    after = with_start(
        history, NOW, kind=action.kind, reason=action.reason, epoch_before=9, spec_revision=1, jitter=0.0
    )
    again = decide(wanted, Observed(observed, 9), after, NOW + timedelta(seconds=5))
    assert again.kind == "wait"
