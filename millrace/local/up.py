"""`millrace up`: from nothing to the first published hour, or from whatever a crash left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from millrace.catalog import CatalogError, load_catalog
from millrace.control.supervised import dag_of
from millrace.doctor.examine import examine_quickly
from millrace.doctor.finding import count
from millrace.feeds.choice import feed_from_text
from millrace.local import checks, first_hours
from millrace.local.called import command_name
from millrace.local.choices import FEED, STREAMS, choose, keep_choices, read_choices
from millrace.local.credentials import ensure_secrets
from millrace.local.down import stop_all, sweep
from millrace.local.errors import StackError
from millrace.local.home import make_home, only_one, stack_settings
from millrace.local.jars import ensure_jars
from millrace.local.java import find_java
from millrace.local.programs import AIRFLOW_PROGRAMS, NAMES, check_path
from millrace.local.progress import Steps
from millrace.local.stack import Cancelled, Stack
from millrace.local.supervisor import Supervisor
from millrace.settings import IS_SOURCE_TREE
from millrace.signals import handled, interruptible

CATCH_UP_PATIENCE = 90
"""Seconds that are worth waiting for a full day of hours; the hourly run of the compaction gets them anyway."""


class NoData(StackError):
    """Everything runs, but no data comes out of it. It is left running: the reason can be seen in it."""


def up(
    steps: Steps, *, port_base: int | None = None, feed: str | None = None, streams: str | None = None
) -> Stack:
    """Bring the stack of the current settings up, or check that it is.

    Raises StackError. When something does not start, and on Ctrl-C, what this call started is stopped again;
    on NoData it is not.
    """
    if not IS_SOURCE_TREE:
        raise StackError(
            "the embedded stack needs the source tree, with dags/ and plugins/: run it from a clone. How Millrace goes "
            "into an Airflow that exists is in docs/deploy.md"
        )
    home = stack_settings().home
    check_path(home)
    java = find_java()
    make_home(home)
    with only_one(home), interruptible():
        kept = read_choices(home)
        chosen = choose(os.environ, kept, port_base, feed, streams)
        names = _check_choices(chosen)
        running = Supervisor(home).is_running()
        if running and any(
            kept.get(name) != value for name, value in chosen.items() if name not in (FEED, STREAMS)
        ):
            raise StackError(f"the stack of {home} runs with other ports: `millrace down` comes first")
        secrets = ensure_secrets(home)
        settings = replace(
            stack_settings({**os.environ, **chosen}),
            access_key=secrets["AWS_ACCESS_KEY_ID"],
            secret_key=secrets["AWS_SECRET_ACCESS_KEY"],
        )
        stack = Stack(settings, secrets, java, threading.Event(), tuple(names), chosen[FEED])
        asked = bool(feed) or kept.get(FEED, chosen[FEED]) != chosen[FEED]
        if running:
            keep_choices(home, chosen)
            _mend(stack, steps, asked=asked)
            _examine(stack, steps)
            return stack
        sweep(settings, steps)
        checks.check_memory(len({stack.catalog.streams[name].driver or name for name in names}))
        checks.check_disk(home)
        with steps.step("Jars") as note:
            note("fetched and verified" if ensure_jars() else "there and verified")
        # Ports that cannot be had are not kept, or the next `up` would want them again.
        checks.check_ports({f"MILLRACE_PORT_{n.upper()}": port for n, port in vars(settings.ports).items()})
        keep_choices(home, chosen)
        begun = datetime.now(UTC)
        try:
            _start(stack, steps, asked=asked)
            _first_data(stack, steps, begun, asked=asked)
        except NoData:
            raise
        except BaseException:
            stack.cancelled.set()
            with _undisturbed():
                stop_all(settings, steps)
            raise
        _examine(stack, steps)
    return stack


def _check_choices(chosen: Mapping[str, str]) -> list[str]:
    """A feed or a stream that cannot be is refused before anything starts; returns the streams to run."""
    try:
        catalog = load_catalog(stack_settings().catalog_dir)
        feed_from_text(chosen[FEED], catalog)
        return catalog.started(chosen[STREAMS])
    except CatalogError as error:
        raise StackError(str(error)) from None


def _start(stack: Stack, steps: Steps, *, asked: bool) -> None:
    with steps.step("Configuration and supervisor"):
        stack.configure()

    def kafka() -> None:
        with steps.step("Kafka"):
            stack.start_kafka()

    def s3_and_streamhost() -> None:
        with steps.step("S3 server"):
            stack.start_s3()
        with steps.step("Feeds") as note:  # those that are quicker than Kafka wait for it
            stack.start_stream_host()
            note(", ".join(stack.start_feeds(asked=asked)) or "none")

    def airflow() -> None:
        with steps.step("Airflow's database") as note:
            note("made" if stack.migrate_airflow() else "is current")
        if stack.cancelled.is_set():
            raise Cancelled
        with steps.step("Airflow"):
            stack.start_airflow()

    with ThreadPoolExecutor(3) as pool:
        parts = [pool.submit(part) for part in (airflow, kafka, s3_and_streamhost)]
        try:
            wait(parts, return_when=FIRST_EXCEPTION)
        finally:
            failed = [error for part in parts if part.done() and (error := part.exception())]
            if failed or not all(part.done() for part in parts):
                stack.cancelled.set()
    for part in sorted(parts, key=lambda part: isinstance(part.exception(), Cancelled)):
        part.result()  # the reason comes before those that only stopped because of it


def _mend(stack: Stack, steps: Steps, *, asked: bool) -> None:
    """The supervisor runs already: start what is not running, and see that all of it answers."""
    begun = datetime.now(UTC)
    supervisor = stack.supervisor
    states = {state.name: state.state for state in supervisor.states()}
    stopped = [name for name in NAMES if states.get(name) != "RUNNING"]
    with steps.step("The stack is running") as note:
        # Each is waited for also where it runs: a server that has just been started again does not answer yet.
        stack.start_kafka()
        stack.start_s3()
        if set(AIRFLOW_PROGRAMS) & set(stopped):
            stack.migrate_airflow()
        stack.start_airflow()
        stack.start_stream_host()
        started = [*stopped, *stack.start_feeds(asked=asked)]
        note(f"starting {', '.join(started)}" if started else "nothing to start")
    if stopped:
        _first_data(stack, steps, begun, asked=asked)
    else:
        _unpause(stack, begun)
        _supervise_feeds(stack, asked=asked)


def _first_data(stack: Stack, steps: Steps, begun: datetime, *, asked: bool) -> None:
    """See that data flows. Raises NoData."""
    try:
        _unpause(stack, begun)
        try:
            _see_data_flow(stack, steps, begun)
        except StackError:
            with suppress(StackError):
                _supervise_feeds(stack, asked=asked)
            raise
        _supervise_feeds(stack, asked=asked)
    except StackError as error:
        raise NoData(f"{error}. Everything else runs: have a look, or stop it with `millrace down`") from None


def _unpause(stack: Stack, begun: datetime) -> None:
    """Begin the streams that were asked for by name; otherwise a person's pause is respected."""
    if stack.settings.streams:
        for name in stack.streams:
            dag = first_hours.wait_for_dag(stack, f"stream__{name}", begun)
            if dag["is_paused"]:
                stack.api.pause(f"stream__{name}", paused=False)


def _supervise_feeds(stack: Stack, *, asked: bool) -> None:
    """Let the DAGs of the feeds run that never have: they come last, since the feeds run already, and at the first
    start Airflow has enough to do. Otherwise a person's pause is respected."""
    for name in stack.feeds.wanted:
        dag = stack.api.dag(dag_of(name))
        if dag is None or not dag["is_paused"]:
            continue
        if not stack.api.has_run(dag_of(name)) or (asked and name == stack.feeds.chosen):
            stack.api.pause(dag_of(name), paused=False)


def _see_data_flow(stack: Stack, steps: Steps, begun: datetime) -> None:
    """Every stream counts, and its first hours are published, in the order of the catalog."""
    seen = []
    for name in stack.streams:
        if why := first_hours.stopped_on_purpose(stack, name, begun):
            steps.remark(why)
            continue
        with steps.step(f"Airflow deploys {name}") as note:
            status = first_hours.wait_for_driver(stack, name, begun)
            note(f"{status.records:,} messages, {status.facts:,} facts")
        if stack.catalog.streams[name].dataset is not None and not first_hours.published_hours(
            stack, name, 1
        ):
            seen.append(name)
    if not seen:
        return
    with steps.step("First published hours") as note:
        hours = first_hours.publish(stack, seen, whole_run=False)
        told = ", ".join(f"{name} {count}" for name, count in hours.items())
        note(
            f"{told}; after {steps.seconds:.0f} s"
            if all(hours.values())
            else f"{told}; an hour is due 5 min after its end"
        )
    if not any(hours.values()):
        return
    with steps.step("The streams catch up") as note:
        if not first_hours.wait_until_caught_up(stack, seen, begun, CATCH_UP_PATIENCE):
            note("goes on in the background")
            return
    with steps.step("The past day") as note:
        hours = first_hours.publish(stack, seen, whole_run=True)
        note(f"{sum(hours.values())} hours published")


def _examine(stack: Stack, steps: Steps) -> None:
    """Say what is wrong with what runs now, or soon would be; it goes on running."""
    with steps.step("A look at everything") as note:
        findings = examine_quickly(stack.settings, stack.catalog)
        errors = [finding for finding in findings if finding.level == "error"]
        note(f"{count(findings, 'fine')} checks fine; `{command_name()} doctor` makes all of them")
    for finding in errors:
        steps.remark(f"{finding.part}: {finding.says}{f': {finding.do}' if finding.do else ''}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C must not stop the stopping (it takes seconds, and is bounded)."""
    with handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield
