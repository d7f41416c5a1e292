"""How a driver's process begins on a stream host: from the desired state to the command to become."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from millrace.control import exit_codes
from millrace.control.desired import DesiredState, read_desired
from millrace.control.history import Start, load_history
from millrace.control.layout import ControlObjectError, desired_key
from millrace.control.lives import (
    MOST_LIVES,
    MOST_LIVES_OF_A_RETRY,
    WINDOW,
    next_life,
    read_lives,
    write_lives,
)
from millrace.control.orders import read_outcome
from millrace.control.streamhost import stream_dir
from millrace.control.supervised import Supervised, SupervisedFeed, dag_of, is_feed, spec_of
from millrace.store import ObjectStore, StoreUnavailable

STORE_WITHIN = 60.0
"""Seconds to wait for the store: after a power cut it starts together with the stream host."""
STORE_RETRY = 2.0


class Ended(Exception):
    """There is no driver to become; says why, and with which exit code to end."""

    def __init__(self, exit_code: int, why: str) -> None:
        super().__init__(why)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Order:
    """The driver to become, and after how many seconds."""

    command: list[str]
    """Empty for a feed, which runs in the process that read this: another interpreter would only cost time."""
    delay: float
    spec: Supervised
    revision: int
    reset_revision: int | None = None
    """The order of a reset that is to be carried out before the driver begins."""
    redeploy_revision: int | None = None
    """The order of a redeploy that is to be tried before the driver begins."""
    code: str | None = None
    """The kept version of the code to run; None: the one that is there."""


def prepare(
    store: ObjectStore, home: Path, stream: str, *, sleep: Callable[[float], None] = time.sleep
) -> Order:
    """Read what the stream should run, write its spec where the driver reads it, and count this life.

    Raises Ended when nothing is to be run.
    """
    desired, last = _from_store(store, stream, sleep)
    what = f"{'feed' if is_feed(stream) else 'stream'} {stream!r}"
    if desired is None:
        raise Ended(
            exit_codes.BAD_CONFIGURATION,
            f"{what} has never been deployed: the store has no {desired_key(stream)}; "
            f"its DAG {dag_of(stream)} writes it (is the DAG paused?)",
        )
    if desired.state == "stopped":
        raise Ended(exit_codes.STOPPED, f"{what} is to be stopped ({desired.who}: {desired.why})")
    spec = _spec(desired, stream)
    directory = stream_dir(home, stream)
    directory.mkdir(parents=True, exist_ok=True)
    most = MOST_LIVES if last is None or last.attempt == 1 else MOST_LIVES_OF_A_RETRY
    order = f"{last.at.isoformat() if last else 'none'} of revision {desired.spec_revision}"
    counted, delay = next_life(read_lives(directory / "lives.json"), order, datetime.now(UTC), most)
    write_lives(directory / "lives.json", counted)
    if delay is None:
        raise Ended(
            exit_codes.GAVE_UP,
            f"{stream} was started {most} times within {WINDOW.seconds // 60} min and did not stay: "
            "the stream host leaves it to Airflow; the reason is in the lines above",
        )
    path = directory / "spec.json"
    path.write_text(json.dumps(desired.config, indent=2), encoding="utf-8")
    revision = str(desired.spec_revision)
    line = _command(spec, home, path, revision)
    return Order(
        line,
        delay,
        spec,
        desired.spec_revision,
        _pending(store, stream, desired.reset_revision),
        _pending(store, stream, desired.redeploy_revision),
        desired.code,
    )


def _command(spec: Supervised, home: Path, path: Path, revision: str) -> list[str]:
    """The stream's driver; or, where that is shared, the handle that stands for it."""
    if isinstance(spec, SupervisedFeed):
        return []
    if spec.driver is None:
        return [sys.executable, "-m", f"spark_apps.{spec.app}", "--spec", str(path), "--revision", revision]
    options = {
        "home": str(home),
        "driver": spec.driver,
        "stream": spec.name,
        "spec": str(path),
        "revision": revision,
        "stop-within": f"{spec.stop_within.total_seconds():g}",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "millrace.control.handle", *words]


def _pending(store: ObjectStore, stream: str, revision: int) -> int | None:
    """A store that does not answer ends this life: going on without what was ordered would be another thing."""
    if not revision or read_outcome(store, stream, revision) is not None:
        return None
    return revision


def _from_store(
    store: ObjectStore, stream: str, sleep: Callable[[float], None]
) -> tuple[DesiredState | None, Start | None]:
    """The desired state, and the order to start that this life belongs to."""
    deadline = time.monotonic() + STORE_WITHIN
    while True:
        try:
            desired = read_desired(store, stream)
            last = load_history(store, stream).history.last_start
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            sleep(STORE_RETRY)
            continue
        except ControlObjectError as error:
            raise Ended(exit_codes.BAD_CONFIGURATION, str(error)) from None
        return desired, last


def _spec(desired: DesiredState, stream: str) -> Supervised:
    key = desired_key(stream)
    try:
        spec = spec_of(desired.config)
    except ValidationError as error:
        first = error.errors()[0]
        raise Ended(
            exit_codes.BAD_CONFIGURATION,
            f"{key}: config.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}; deploy the "
            "stream again from a catalog that is right",
        ) from None
    if isinstance(spec, SupervisedFeed):
        return spec
    # The name becomes a module to run: nothing but a plain one may come out of the store.
    if not spec.app.isidentifier() or importlib.util.find_spec(f"spark_apps.{spec.app}") is None:
        raise Ended(
            exit_codes.BAD_CONFIGURATION,
            f"{key}: config.app: there is no app {spec.app!r} in spark_apps/ on this host",
        )
    return spec
