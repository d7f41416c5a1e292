"""Feeds under supervision on real parts: Kafka, an S3 server, a stream host, an HTTP server that falls silent."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from millrace.catalog import Catalog, FeedSpec, load_catalog
from millrace.control import exit_codes
from millrace.control.epochs import claim_epoch
from millrace.control.follow import Arrival, follow
from millrace.control.heartbeat import Heartbeat
from millrace.control.launcher import StreamHost
from millrace.control.order import OrderRefused, give_order
from millrace.control.process import ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import DriverStatus, newest_status, observe_status, read_statuses
from millrace.control.streamhost import command, log_file, write_config
from millrace.control.supervised import Supervised, supervised
from millrace.control.view import StreamView, read_view
from millrace.feeds.source_watch import SourceWatch
from millrace.local import feeds as stack_feeds
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store, open_store
from tests.conftest import running, wait_until
from tests.environment import environment_of
from tests.integration.feed_bench import FeedBench
from tests.integration.feed_server import Answer, FeedServer
from tests.integration.test_feeds_http import add_system, status

pytestmark = pytest.mark.stack

SOON = 40.0
T = 1_700_000_000


@dataclass
class Stage:
    """A stream host with the feeds of a catalog of its own."""

    settings: Settings
    store: S3Store
    catalog: Catalog
    known: dict[str, Supervised]
    host: StreamHost
    server: FeedServer

    def order(self, name: str, action: str) -> Arrival:
        given = give_order(
            self.store,
            self.known,
            name,
            action,
            who="ada",
            why=f"to see {action}",
            check_reset=lambda spec: None,
        )
        return follow(self.reconciler(name), given, lambda message: None)

    def reconciler(self, name: str) -> Reconciler:
        return Reconciler(self.store, self.host, self.known[name], who="a test", jitter=lambda: 0.0)

    def view(self, name: str) -> StreamView:
        return read_view(self.store, name, datetime.now(UTC), self.known[name].rules)

    def status(self, name: str) -> DriverStatus:
        found = newest_status(self.store, name)
        assert found is not None
        return found

    def until(self, name: str, condition: Callable[[], object], what: str) -> None:
        try:
            wait_until(condition, SOON, what)
        except pytest.fail.Exception as failure:
            log = log_file(self.settings.home, name)
            printed = log.read_text() if log.exists() else "(no log)"
            raise AssertionError(f"{failure}\n{self.view(name)}\n{printed}") from None

    def sends(self, name: str, after: int = 0) -> DriverStatus:
        """The feed's life after this epoch, once it has sent something."""

        def sent() -> bool:
            found = newest_status(self.store, name)
            return found is not None and found.driver_epoch > after and found.records > 0

        self.until(name, sent, f"{name} to send, after epoch {after}")
        return self.status(name)


@pytest.fixture(scope="module")
def stage(kafka: str, s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("feeds")
    home = Path(tempfile.mkdtemp(prefix="millrace-"))  # short: a unix socket must fit below it
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        server = stack.enter_context(FeedServer())
        settings = replace(
            s3_settings,
            home=home,
            prefix=f"feeds-{os.getpid()}",
            kafka=kafka,
            catalog_dir=_catalog(directory, add_system(server, "town", lambda _: status(T, 1))),
        )
        for name, value in environment_of(settings).items():
            patch.setenv(name, value)
        catalog = load_catalog(settings.catalog_dir)
        known = supervised(catalog)
        config = write_config(settings, known.values())
        stack.enter_context(running(command(config), directory / "supervisord.log"))
        wait_until(lambda: stack_feeds.answers(settings), 15, "supervisord to answer")
        made = Stage(settings, open_store(settings), catalog, known, StreamHost.of(settings), server)
        stack.callback(stack_feeds.end_all, settings)
        yield made


def _catalog(directory: Path, town: str) -> Path:
    """The project's, with topics and feeds of this test alone, and a heartbeat that does not make it wait."""
    catalog = directory / "catalog"
    shutil.copytree(PROJECT_ROOT / "catalog", catalog)
    mark = f"{os.getpid()}"
    topics = yaml.safe_load((catalog / "topics.yaml").read_text())
    quick = {"heartbeat": "300ms"}
    feeds = {
        name: quick | {"kind": "orders", "topic": f"{name}_{mark}", "options": {"rate": 50}}
        for name in ("steady", "rivals", "resting", "first")
    }
    feeds["few"] = quick | {
        "kind": "orders",
        "topic": f"few_{mark}",
        "options": {"rate": 1000, "total": 20},
    }
    feeds["town"] = quick | {
        "kind": "gbfs",
        "topic": f"town_{mark}",
        "options": {"systems": [town], "interval": "5s"},
        "health": {"stalled_after": "5s"},
    }
    feeds["broken"] = quick | {
        "kind": "orders_replay",
        "topic": f"few_{mark}",
        "options": {"file": "no/such"},
    }
    topics |= {feed["topic"]: {} for feed in feeds.values()}
    (catalog / "topics.yaml").write_text(yaml.safe_dump(topics))
    (catalog / "streams.yaml").write_text("")
    (catalog / "datasets.yaml").write_text("")
    (catalog / "feeds.yaml").write_text(yaml.safe_dump(feeds))
    return catalog


def ids(stage: Stage, topic: str) -> list[int]:
    """The numbers of the orders in a topic, in its order."""
    bench = FeedBench(stage.settings.kafka, stage.settings.home, topic, "")
    return [int(line.split(b",")[1]) for line in bench.values()]


def test_a_killed_feed_comes_back_and_goes_on_where_it_was(stage: Stage) -> None:
    name = "feed-steady"
    assert stage.order(name, "start").kind == "reached"
    first = stage.sends(name)
    os.kill(first.pid, signal.SIGKILL)
    second = stage.sends(name, after=first.driver_epoch)
    assert (second.pid != first.pid, second.state) == (True, "running")
    assert stage.host.state(name).pid == second.pid
    assert stage.view(name).health.state == "running"
    assert stage.reconciler(name).turn().action.kind == "leave"
    assert stage.order(name, "stop").kind == "reached"
    sent = ids(stage, stage.catalog.feeds["steady"].topic)
    assert sent == list(range(1, len(sent) + 1)), "nothing missing, nothing twice"
    assert len(sent) > second.records


def test_a_stopped_feed_stays_stopped_until_it_is_started(stage: Stage) -> None:
    name = "feed-resting"
    stage.order(name, "start")
    stage.sends(name)
    assert stage.order(name, "stop").kind == "reached"
    ended = stage.status(name)
    assert (ended.state, ended.exit_code) == ("stopped", exit_codes.STOPPED)
    stage.host.start(name)  # as a host that was started anew would
    stage.until(name, lambda: stage.host.state(name).state is ProcessState.EXITED, "it to end at once")
    assert "is to be stopped (ada: to see stop)" in log_file(stage.settings.home, name).read_text()
    turn = stage.reconciler(name).turn()
    assert (turn.action.kind, turn.health.healthy) == ("leave", True)
    before = len(ids(stage, stage.catalog.feeds["resting"].topic))
    assert before == ended.records
    assert stage.order(name, "start").kind == "reached"
    stage.sends(name, after=ended.driver_epoch)
    stage.order(name, "stop")
    sent = ids(stage, stage.catalog.feeds["resting"].topic)
    assert sent == list(range(1, len(sent) + 1))


def test_a_feed_whose_server_falls_silent_is_stalled_and_says_why(stage: Stage) -> None:
    name, route = "feed-town", "/town/station_status.json"
    stage.order(name, "start")
    stage.sends(name)
    assert stage.view(name).health.state in ("running", "idle")
    answers = stage.server.routes[route]
    stage.server.routes[route] = lambda _: Answer(b"", 503)
    stage.until(name, lambda: stage.view(name).health.state == "stalled", "it to be stalled")
    health = stage.view(name).health
    assert not health.healthy
    assert re.fullmatch(
        r"its source has not answered for \d+ s \(127\.0\.0\.1:\d+/town/gbfs\.json: HTTP 503.*\); "
        r"it last sent something \d+ s ago; feed epoch 1 \(pid \d+ on .*\) tries again",
        health.reason,
    )
    assert stage.reconciler(name).turn().action.kind == "leave", "starting it anew would not help its server"
    stage.server.routes[route] = answers
    stage.until(name, lambda: stage.view(name).health.healthy, "it to be well again")
    assert stage.status(name).driver_epoch == 1
    assert stage.order(name, "stop").kind == "reached"


def test_a_second_instance_fences_the_first_and_begins_after_it(stage: Stage) -> None:
    name = "feed-rivals"
    stage.order(name, "start")
    first = stage.sends(name)
    rival = [sys.executable, "-m", "millrace.commands.host", "exec", name]
    with running(rival, stage.settings.home / "rival.log") as process:
        second = stage.sends(name, after=first.driver_epoch)
        assert second.pid == process.pid
        stage.until(name, lambda: stage.host.state(name).state is ProcessState.EXITED, "the first to end")
        assert stage.host.state(name).exit_code == exit_codes.FENCED
        earlier = observe_status(stage.store, name, first.driver_epoch)
        assert earlier is not None
        assert (earlier.status.state, earlier.status.error) == ("fenced", "feed epoch 2 has taken over")
        action = stage.reconciler(name).turn().action
        assert (action.kind, "a newer one elsewhere" in action.reason) == ("leave", True)
        assert stage.order(name, "stop").kind == "reached"
        stage.until(name, lambda: process.poll() is not None, "the second to end")
        assert process.returncode == exit_codes.STOPPED
    sent = ids(stage, stage.catalog.feeds["rivals"].topic)
    assert sent == list(range(1, len(sent) + 1)), "the second has waited until the first had delivered all"


def test_a_feed_that_has_sent_everything_is_finished_and_is_not_run_again(stage: Stage) -> None:
    name = "feed-few"
    assert stage.order(name, "start").kind == "reached"
    stage.until(name, lambda: stage.host.state(name).state is ProcessState.EXITED, "it to end")
    assert stage.host.state(name).exit_code == exit_codes.FINISHED
    health = stage.view(name).health
    assert (health.state, health.healthy) == ("finished", True)
    assert stage.reconciler(name).turn().action.kind == "leave"
    assert stage.order(name, "restart").kind == "reached", "a person may have it run again"
    assert len(read_statuses(stage.store, name)) == 2
    assert ids(stage, stage.catalog.feeds["few"].topic) == list(range(1, 21))


def test_a_feed_that_cannot_be_run_says_so_once(stage: Stage) -> None:
    name = "feed-broken"
    arrival = stage.order(name, "start")
    assert arrival.kind == "failed"
    assert "no/such cannot be read" in arrival.says
    assert len(read_statuses(stage.store, name)) == 1
    assert stage.order(name, "stop").kind == "reached"


def test_the_stack_gives_the_first_order_and_has_what_ran_run_again(stage: Stage) -> None:
    feeds = stack_feeds.Feeds.of(stage.catalog, "first", [])
    stage.order("feed-few", "start" if stage.view("feed-few").desired is None else "restart")

    def up() -> list[str]:
        return stack_feeds.bring_about(stage.settings, stage.store, feeds, asked=False)

    assert up() == ["feed-first"], "what has finished is not run again"
    first = stage.sends("feed-first")
    desired = stage.view("feed-first").desired
    assert desired is not None
    assert (desired.who, desired.spec_revision) == ("millrace up", 1)
    assert up() == [], "it runs"
    stack_feeds.end_all(stage.settings)
    assert stage.status("feed-first").state == "stopped"
    assert up() == ["feed-first"]
    assert stage.sends("feed-first", after=first.driver_epoch).spec_revision == 1
    stage.order("feed-first", "stop")
    assert up() == [], "a person has stopped it"


def test_the_command_takes_feeds_by_either_name_and_refuses_to_reset_one(stage: Stage) -> None:
    def stream(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "millrace", "stream", *arguments],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = stream("start", "resting", "--why", "morning", "--wait")
    assert (code, "feed-resting is started and goes on after what it has sent" in said) == (0, True), said
    code, said = stream("status", "feed-resting")
    assert (code, "feed-resting is running" in said, "messages" in said) == (0, True, True), said
    code, said = stream("reset", "resting")
    assert (code, "there is nothing to reset" in said) == (1, True), said
    assert stream("stop", "resting", "--wait")[0] == 0
    code, said = stream("history", "resting")
    assert [line.split()[2] for line in said.splitlines() if "morning" in line] == ["start"]
    with pytest.raises(OrderRefused, match="no feed; there are: feed-broken, feed-few"):
        stage.order("feed-nothing", "start")


def test_a_heartbeat_costs_less_than_a_hundredth_of_a_core(stage: Stage) -> None:
    name, beats = "feed-steady", 40
    watch = SourceWatch()
    epoch = claim_epoch(stage.store, name, spec_revision=1)

    def status() -> DriverStatus:
        now, seen = datetime.now(UTC), watch.seen()
        return DriverStatus(
            stream=name, driver_epoch=epoch, spec_revision=1, host="here", pid=1, state="running", started_at=now,
            heartbeat_at=now, records=seen.stored, lag=seen.waiting, feed=seen.report,
        )  # fmt: skip

    heart = Heartbeat(
        stage.store, name, epoch, 5.0, status=status, on_stop=lambda _: None, on_fenced=lambda _: None
    )
    heart.beat()
    began = time.thread_time()
    for _ in range(beats):
        heart.beat()
    each = (time.thread_time() - began) / beats
    assert each / FeedSpec.model_fields["heartbeat"].default.total_seconds() < 0.01
    told = 100_000
    began = time.thread_time()
    for _ in range(told):
        watch.sent()
        watch.stored()
    assert (time.thread_time() - began) / told < 20e-6, "seconds of a message that is counted"
