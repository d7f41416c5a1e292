from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from millrace.control.attention import what_needs_attention
from millrace.control.history import History, with_health, with_start
from millrace.control.view import StreamView
from tests.unit.control.samples import NOW, ago, desired, preflight, status


def view(observed=None, wanted=None, **changes) -> StreamView:
    """A stream whose present health is on record since an hour ago."""
    made = StreamView("bikes", NOW, wanted or desired(), status=observed or status(), newest_epoch=3)
    history = with_health(History(), ago(3600), made.health)
    return replace(made, **({"history": history} | changes))


def test_a_stream_that_does_what_it_should_needs_nobody():
    assert what_needs_attention(view(), 1) is None
    stopped = view(status("stopped"), desired("stopped"))
    gone = stopped.history.model_copy(update={"gone_revision": 1})
    assert what_needs_attention(replace(stopped, history=gone), 1) is None


def test_whether_a_stopped_driver_is_gone_is_asked_of_the_host_once():
    assert "its host has yet to say that it is gone" in what_needs_attention(
        view(status("stopped"), desired("stopped")), 1
    )


@pytest.mark.parametrize(
    "observed", [status(age=60), status("stopped"), status("failed", age=60), status("fenced")]
)
def test_a_stream_that_must_be_started_needs_somebody_but_not_while_quiet(observed):
    assert what_needs_attention(view(observed), 1).startswith("to ")
    assert what_needs_attention(view(observed), 1, quiet=True) is None


def test_a_driver_that_has_outlived_its_host_needs_somebody_though_it_does_its_work():
    left = status(host_gone_at=ago(5))
    assert "its stream host" not in str(what_needs_attention(view(status()), 1))
    assert what_needs_attention(view(left), 1).startswith("to start: ")
    assert "the stream host that started it is gone" in what_needs_attention(view(left), 1)
    assert what_needs_attention(view(left), 1, quiet=True) is None


def test_a_changed_desired_state_needs_somebody_at_once():
    changed = view(wanted=desired("stopped", spec_revision=2, why="a holiday"))
    for quiet in (False, True):
        assert what_needs_attention(changed, 1, quiet=quiet) == (
            "ada changed its desired state to stopped (revision 2): a holiday"
        )


def test_a_stream_whose_objects_are_gone_is_deployed_again():
    assert "gone" in what_needs_attention(None, 1)
    assert what_needs_attention(None, 0) == "it has not been deployed"


def test_a_turn_of_health_is_written_down_once_it_has_settled():
    stalled = status(lag=9, last_progress_at=ago(900))
    turned = view(stalled, history=view().history)
    assert what_needs_attention(turned, 1).startswith("stalled: 9 records wait")
    flapping = replace(turned, history=with_health(History(), ago(5), view().health))
    assert what_needs_attention(flapping, 1) is None
    assert what_needs_attention(replace(flapping, now=NOW + timedelta(seconds=20)), 1)


def test_a_version_that_is_tried_is_written_down_and_otherwise_needs_nobody():
    tried = replace(view(status("stopped", age=60), desired(spec_revision=2)), preflight=preflight())
    assert what_needs_attention(tried, 2).startswith("trying: the new version of revision 2 is tried")
    written = replace(tried, history=with_health(tried.history, ago(30), tried.health))
    assert what_needs_attention(written, 2) is None
    silent = replace(written, preflight=preflight(age=31))
    assert what_needs_attention(silent, 2).startswith("to start"), "only its host knows what became of it"


def test_nobody_is_called_for_a_driver_that_was_just_started():
    failed = view(status("failed", age=300))
    begun = with_start(
        failed.history, ago(20), kind="start", reason="", epoch_before=3, spec_revision=1, jitter=0.5
    )
    assert what_needs_attention(replace(failed, history=begun), 1) is None


def test_supervision_that_failed_is_tried_again_after_the_quiet():
    assert what_needs_attention(view(), None, quiet=True) is None
    assert "trying again" in what_needs_attention(view(), None)
