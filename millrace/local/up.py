"""`millrace up`: from nothing to the first published hour, or from whatever a crash left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

from millrace.catalog import CatalogError, load_catalog
from millrace.feeds.choice import feed_from_text
from millrace.local import checks, first_hours
from millrace.local.choices import FEED, choose, keep_choices, read_choices
from millrace.local.credentials import ensure_secrets
from millrace.local.down import stop_all, sweep
from millrace.local.errors import StackError
from millrace.local.home import make_home, only_one, stack_settings
from millrace.local.jars import ensure_jars
from millrace.local.java import find_java
from millrace.local.programs import AIRFLOW_PROGRAMS, check_path
from millrace.local.progress import Steps
from millrace.local.stack import Cancelled, Stack
from millrace.local.supervisor import Supervisor

CATCH_UP_PATIENCE = 45
"""Seconds that are worth waiting for a full day of hours; the hourly run of the compaction gets them anyway."""


class NoData(StackError):
    """Everything runs, but no data comes out of it. It is left running: the reason can be seen in it."""


def up(steps: Steps, *, port_base: int | None = None, feed: str | None = None) -> Stack:
    """Bring the stack of the current settings up, or check that it is.

    Raises StackError. When something does not start, and on Ctrl-C, what this call started is stopped again;
    on NoData it is not.
    """
    home = stack_settings().home
    check_path(home)
    java = find_java()
    make_home(home)
    with only_one(home), _interruptible():
        kept = read_choices(home)
        chosen = choose(os.environ, kept, port_base, feed)
        _check_feed(chosen[FEED])
        running = Supervisor(home).is_running()
        if running and any(kept.get(name) != value for name, value in chosen.items() if name != FEED):
            raise StackError(f"the stack of {home} runs with other ports: `millrace down` comes first")
        secrets = ensure_secrets(home)
        settings = replace(
            stack_settings({**os.environ, **chosen}),
            access_key=secrets["AWS_ACCESS_KEY_ID"],
            secret_key=secrets["AWS_SECRET_ACCESS_KEY"],
        )
        stack = Stack(settings, secrets, java, threading.Event())
        if running:
            keep_choices(home, chosen)
            _mend(stack, steps, new_feed=kept.get(FEED) != chosen[FEED])
            return stack
        sweep(settings, steps)
        checks.check_memory()
        checks.check_disk(home)
        with steps.step("Jars") as note:
            note("fetched and verified" if ensure_jars() else "there and verified")
        # Ports that cannot be had are not kept, or the next `up` would want them again.
        checks.check_ports({f"MILLRACE_PORT_{n.upper()}": port for n, port in vars(settings.ports).items()})
        keep_choices(home, chosen)
        begun = datetime.now(UTC)
        try:
            _start(stack, steps)
            _first_data(stack, steps, begun)
        except NoData:
            raise
        except BaseException:
            stack.cancelled.set()
            with _undisturbed():
                stop_all(settings, steps)
            raise
    return stack


def _check_feed(text: str) -> None:
    """A feed that cannot be is refused before anything starts."""
    settings = stack_settings()
    try:
        feed_from_text(text, load_catalog(settings.catalog_dir))
    except CatalogError as error:
        raise StackError(str(error)) from None


def _start(stack: Stack, steps: Steps) -> None:
    with steps.step("Configuration and supervisor"):
        stack.configure()

    def kafka_and_feed() -> None:
        with steps.step("Kafka"):
            stack.start_kafka()
        stack.supervisor.start_program("feed")

    def s3_and_streamhost() -> None:
        with steps.step("S3 server"):
            stack.start_s3()
        stack.supervisor.start_program("streamhost")

    def airflow() -> None:
        with steps.step("Airflow's database") as note:
            note("made" if stack.migrate_airflow() else "is current")
        if stack.cancelled.is_set():
            raise Cancelled
        with steps.step("Airflow"):
            stack.start_airflow()

    with ThreadPoolExecutor(3) as pool:
        parts = [pool.submit(part) for part in (airflow, kafka_and_feed, s3_and_streamhost)]
        try:
            wait(parts, return_when=FIRST_EXCEPTION)
        finally:
            failed = [error for part in parts if part.done() and (error := part.exception())]
            if failed or not all(part.done() for part in parts):
                stack.cancelled.set()
    for part in sorted(parts, key=lambda part: isinstance(part.exception(), Cancelled)):
        part.result()  # the reason comes before those that only stopped because of it


def _mend(stack: Stack, steps: Steps, *, new_feed: bool) -> None:
    """The supervisor runs already: start what is not running, and see that all of it answers."""
    begun = datetime.now(UTC)
    supervisor = stack.supervisor
    if new_feed:
        with steps.step("Stopping: Feed"):
            supervisor.stop_programs(["feed"], 40)
    stopped = [state.name for state in supervisor.states() if state.state != "RUNNING"]
    with steps.step("The stack is running") as note:
        note(f"starting {', '.join(stopped)}" if stopped else "nothing to start")
        for title, program, start in (
            ("kafka", "kafka", stack.start_kafka),
            ("s3", "s3", stack.start_s3),
        ):
            if program in stopped:
                note(f"starting {title}")
                start()
        if set(AIRFLOW_PROGRAMS) & set(stopped):
            stack.migrate_airflow()
        stack.start_airflow()
        for program in ("streamhost", "feed"):
            supervisor.start_program(program)
    if set(stopped) - {"feed"}:
        _first_data(stack, steps, begun)


def _first_data(stack: Stack, steps: Steps, begun: datetime) -> None:
    """See that data flows. Raises NoData."""
    if first_hours.STREAM not in stack.catalog.streams:
        return
    try:
        _see_data_flow(stack, steps, begun)
    except StackError as error:
        raise NoData(f"{error}. Everything else runs: have a look, or stop it with `millrace down`") from None


def _see_data_flow(stack: Stack, steps: Steps, begun: datetime) -> None:
    if why := first_hours.stopped_on_purpose(stack, begun):
        steps.remark(why)
        return
    with steps.step(f"Airflow deploys {first_hours.STREAM}") as note:
        status = first_hours.wait_for_driver(stack, begun)
        note(f"{status.records:,} messages, {status.facts:,} facts")
    if first_hours.published_hours(stack, 1):
        return
    with steps.step("First published hours") as note:
        hours = first_hours.publish(stack, whole_run=False)
        note(
            f"{hours} so far, after {steps.seconds:.0f} s"
            if hours
            else "none is due yet: an hour is, 5 min after its end"
        )
    if not hours:
        return
    with steps.step("The stream catches up") as note:
        if not first_hours.wait_until_caught_up(stack, begun, CATCH_UP_PATIENCE):
            note("goes on in the background")
            return
    with steps.step("The past day") as note:
        note(f"{first_hours.publish(stack, whole_run=True)} hours published")


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and a closed terminal end the command as Ctrl-C does: with everything stopped again."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not stop the stopping (it takes seconds, and is bounded)."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
