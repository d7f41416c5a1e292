from __future__ import annotations

import json

from millrace.control.history import Alert, Circuit, History, ShiftEntry, Start
from millrace.control.in_words import Known, as_json, history_lines, status_lines
from millrace.control.orders import Order, Outcome, StoredOrder
from millrace.control.process import ProcessState
from millrace.control.view import StreamView
from tests.unit.control.samples import NOW, SPEC, ago, desired, process, status

START = Start(
    at=ago(3700),
    kind="restart",
    reason="it was silent",
    epoch_before=2,
    spec_revision=1,
    attempt=2,
    backoff_seconds=20,
)


def known(observed=None, wanted=None, history=None, **more) -> Known:
    view = StreamView("bikes", NOW, wanted or desired(), ago(99), history or History(), None, observed, 3)
    return Known(SPEC, view, **({"process": process()} | more))


def said(one: Known) -> str:
    return "\n".join(status_lines(one))


def test_status_says_health_reason_numbers_and_who_wants_what():
    text = said(
        known(status(lag=7, records=1234567, last_progress_at=ago(3)), history=History(starts=(START,)))
    )
    assert text.startswith("bikes is running: driver epoch 3 (pid 4711 on host-1) keeps up; 7 records wait")
    for line in (
        "  desired               running (revision 1), by ada at 2026-02-28 12:00 UTC: a test",
        "  process               RUNNING, pid 4711, for 60 min",
        "  lag                   7",
        "  records               1,234,567",
        "  watermark             not known",
        "  last start            2026-03-01 10:58:20 UTC, attempt 2: it was silent",
        "  next                  nothing to do",
    ):
        assert line in text.splitlines()


def test_what_is_about_to_happen_is_said():
    assert "  next                  start: it should run, but its process ended (bad configuration)" in said(
        known(status("failed", error="no such topic"), process=process(ProcessState.EXITED, exit_code=11))
    )
    assert "restart: its driver of revision 1 is to be followed by one of revision 2 (ada: a test)" in said(
        known(status(), desired(spec_revision=2))
    )
    assert "the host is away" in said(known(status(), process=None, host_problem="the host is away"))


def test_what_the_catalog_says_otherwise_is_outdated():
    deployed = SPEC.model_dump(mode="json") | {"late_by": "3h"}
    text = said(known(status(), desired(config=deployed)))
    assert "  outdated              late_by: '3h' is deployed, the catalog says '2h'" in text
    assert "`millrace stream redeploy bikes`" in text
    assert "outdated" not in said(known(status()))


def test_an_open_circuit_and_alerts_are_in_status_and_history():
    circuit = Circuit(opened_at=ago(600), failures=12, reason="it should run, but boom")
    alerts = (
        Alert(kind="stalled", at=ago(9000), tried_at=ago(9000), text="old", sent=True),
        Alert(kind="recovered", at=ago(8000), tried_at=ago(8000), text="well", quiet=True),
        Alert(kind="down", at=ago(900), tried_at=ago(900), text="boom", problem="refused"),
    )
    one = known(status("failed"), history=History(circuit=circuit, starts=(START,), alerts=alerts))
    text = said(one)
    assert (
        "  circuit               open since 2026-03-01 11:50 UTC: 12 starts did not last, the last because it should "
        "run, but boom" in text
    )
    down = "2026-03-01 11:45:00  down, not sent (refused): boom"
    assert f"  alert                 {down}" in text
    assert "stalled, sent" not in text, "that is over"
    assert as_json(one)["circuit"]["failures"] == 12
    lines = history_lines(one, 9)
    assert lines[lines.index("alerts (UTC)") + 1 :][:2] == [
        "  2026-03-01 09:30:00  stalled, sent: old",
        f"  {down}",
    ]


def test_a_stream_that_was_never_deployed_says_how_it_is():
    view = StreamView("bikes", NOW)
    assert "never deployed" in "\n".join(status_lines(Known(SPEC, view)))


def test_for_programs_it_is_the_same_as_json():
    found = json.loads(json.dumps(as_json(known(status(lag=7, last_progress_at=ago(3))))))
    assert (found["health"], found["healthy"], found["numbers"]["lag"], found["desired"]["who"]) == (
        "running",
        True,
        7,
        "ada",
    )


def stored(number: int, action: str, decided_on: int, **more) -> StoredOrder:
    order = Order(
        spec_revision=number, decided_on=decided_on, action=action, who="bob", why="to see", at=ago(9)
    )
    return StoredOrder(order, NOW, NOW, **more)


def test_history_tells_orders_lives_and_shifts():
    shift = ShiftEntry(
        began_at=ago(3600),
        ended_at=NOW,
        state="idle",
        reason="nothing waits",
        records=5000,
        batches=70,
        rejected=0,
        restarts=1,
        largest_lag=12,
        unhealthy_seconds=200,
        red=True,
    )
    outcome = Outcome(outcome="refused", says="Kafka holds too little", at=NOW)
    one = known(
        history=History(starts=(START,), shifts=(shift, shift)),
        wanted=desired(spec_revision=4),
        statuses=[
            status("failed", epoch=2, age=3700, error="boom\nmore", exit_code=1).status,
            status(epoch=3, records=9).status,
        ],
        orders=[
            stored(2, "restart", 1),
            stored(3, "stop", 2),
            stored(4, "reset", 2, outcome=outcome),
        ],
    )
    lines = history_lines(one, shifts=1)
    assert lines[0] == "orders (UTC)"
    assert lines[1] == "  2026-03-01 11:59:51  restart   revision 2  by bob: to see"
    assert lines[2].endswith("; it never came into force")
    assert lines[4] == "      refused: Kafka holds too little"
    text = "\n".join(lines)
    assert "failed (crashed with exit code 1)\n      boom\n" in text
    assert "9 records; running, last heard of at 11:59:58; started because it was silent" in text
    assert text.count("red    5,000 records in 70 batches, 1 driver starts, largest lag 12") == 1


def test_history_of_nothing_is_no_error():
    view = StreamView("bikes", NOW)
    assert history_lines(Known(SPEC, view), 9).count("  none") == 4
