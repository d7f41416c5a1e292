from __future__ import annotations

import json
import sys
from datetime import timedelta

import pytest

from millrace.control import exit_codes
from millrace.control.execute import Ended, prepare
from millrace.control.history import History, with_start
from millrace.control.lives import MOST_LIVES, MOST_LIVES_OF_A_RETRY
from millrace.control.orders import Outcome, put_outcome
from millrace.store import MemoryStore, StoreUnavailable
from tests.unit.control.samples import NOW, SPEC, desired


def deployed(**changes) -> MemoryStore:
    store = MemoryStore()
    store.put("control/bikes/desired.json", desired(**changes).to_body())
    return store


def test_it_becomes_the_driver_of_the_deployed_spec(tmp_path):
    order = prepare(deployed(spec_revision=4), tmp_path, "bikes")
    spec = tmp_path / "streams" / "bikes" / "spec.json"
    assert order.command == [
        *(sys.executable, "-m", "spark_apps.station_hourly"),
        *("--spec", str(spec), "--revision", "4"),
    ]
    assert order.delay == 0
    assert json.loads(spec.read_text()) == SPEC.model_dump(mode="json")


def test_with_a_shared_driver_it_becomes_the_handle_of_the_stream(tmp_path):
    config = SPEC.model_dump(mode="json") | {"driver": "light", "stop_within": "20s"}
    order = prepare(deployed(config=config), tmp_path, "bikes")
    assert order.command[1:3] == ["-m", "millrace.control.handle"]
    given = dict(zip(order.command[3::2], order.command[4::2], strict=True))
    assert given["--spec"] == str(tmp_path / "streams" / "bikes" / "spec.json")
    assert (given["--driver"], given["--stream"], given["--stop-within"]) == ("light", "bikes", "20")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"app": "no_such_app"}, r"config.app: there is no app 'no_such_app' in spark_apps/"),
        ({"app": "../etc"}, r"there is no app '../etc'"),
        ({"app": "runtime.x"}, r"there is no app 'runtime.x'"),
        ({"late_by": "soon"}, r"config.late_by: .*'soon' is not a duration"),
        ({"colour": "blue"}, r"config.colour"),
    ],
)
def test_a_spec_that_cannot_be_run_is_bad_configuration_with_the_key(config, words, tmp_path):
    store = deployed(config=SPEC.model_dump(mode="json") | config)
    with pytest.raises(Ended, match=words) as ended:
        prepare(store, tmp_path, "bikes")
    assert ended.value.exit_code == exit_codes.BAD_CONFIGURATION


def test_what_was_never_deployed_or_is_to_be_stopped_does_not_begin(tmp_path):
    with pytest.raises(Ended, match="never been deployed") as ended:
        prepare(MemoryStore(), tmp_path, "bikes")
    assert ended.value.exit_code == exit_codes.BAD_CONFIGURATION
    with pytest.raises(Ended, match=r"to be stopped \(ada: a test\)") as ended:
        prepare(deployed(state="stopped"), tmp_path, "bikes")
    assert ended.value.exit_code == exit_codes.STOPPED


def lives_of(store: MemoryStore, home) -> int:
    lives = 0
    while lives < 100:
        try:
            prepare(store, home, "bikes")
        except Ended:
            break
        lives += 1
    return lives


def test_the_lives_are_counted_by_order_and_a_retry_has_fewer(tmp_path):
    store, history = deployed(), History()
    assert lives_of(store, tmp_path) == MOST_LIVES
    for minute, expected in enumerate((MOST_LIVES, MOST_LIVES_OF_A_RETRY, MOST_LIVES_OF_A_RETRY)):
        now = NOW + timedelta(minutes=minute)
        history = with_start(history, now, kind="start", reason="", epoch_before=0, spec_revision=1, jitter=0)
        store.put("control/bikes/history.json", history.to_body())
        assert lives_of(store, tmp_path) == expected
    store.put("control/bikes/desired.json", desired(spec_revision=2).to_body())
    assert lives_of(store, tmp_path) == MOST_LIVES_OF_A_RETRY


def test_a_store_that_starts_late_is_waited_for(tmp_path):
    store, naps = deployed(), []
    answer = store.get

    def late(key):
        if len(naps) < 3:
            raise StoreUnavailable("connection refused")
        return answer(key)

    store.get = late
    assert prepare(store, tmp_path, "bikes", sleep=naps.append).command
    assert len(naps) == 3


def test_a_reset_that_was_ordered_is_done_once_and_not_again(tmp_path):
    store = deployed(spec_revision=4, reset_revision=3)
    assert prepare(store, tmp_path, "bikes").reset_revision == 3
    put_outcome(store, "bikes", 3, Outcome(outcome="refused", says="no", at=NOW))
    assert prepare(store, tmp_path, "bikes").reset_revision is None
    assert prepare(deployed(), tmp_path, "bikes").reset_revision is None
