"""The process of a shared driver: one Python, one JVM, one Spark context, a stream per thread.

The stream host runs it as `python -m spark_apps.runtime.shared_driver NAME` when a stream's handle asks for it.
Its JVM is started for the first stream, with what the catalog says at that moment.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from millrace import settings
from millrace.catalog import CatalogError, StreamSpec, load_catalog
from millrace.control import exit_codes
from millrace.control.shared_host import CRASHED, Refused, Request, SharedHost
from millrace.control.shared_socket import shared_socket
from millrace.settings import PROJECT_ROOT, Settings, SettingsError
from millrace.shared_drivers import SharedDriver, shared_drivers
from spark_apps.runtime.app import checked_fold, fold_of_app, read_spec, start_logging
from spark_apps.runtime.session import start_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_apps.runtime.stream_driver import StreamDriver

log = logging.getLogger(__name__)

CLOSE_WITHIN = 10.0


class SharedSession:
    """The JVM that the streams share, and whether it can still be used."""

    def __init__(self, name: str, found: Settings) -> None:
        self._name, self._settings = name, found
        self._code = code_mark()
        self._started_with: SharedDriver | None = None
        self._first: SparkSession | None = None
        self._lost: str | None = None
        self._lock = threading.Lock()

    def driver_of(self, request: Request) -> SharedStream:
        from spark_apps.runtime.stream_driver import StreamDriver

        try:
            catalog = load_catalog(self._settings.catalog_dir)
            spec = read_spec(request.spec)
            fold = checked_fold(spec, catalog, fold_of_app)
            dataset = catalog.datasets[spec.dataset] if spec.dataset is not None else None
            place = SharedPlace(request.pid, self)
            driver = StreamDriver(spec, dataset, self._settings, fold, request.revision, place)
        except (SettingsError, CatalogError) as error:
            raise Refused(exit_codes.BAD_CONFIGURATION, str(error)) from None
        return SharedStream(driver, place)

    def outdated(self) -> str | None:
        if code_mark() != self._code:
            return "the code has changed since it was started"
        if self._started_with is None:
            return None
        try:
            wanted = self._wanted()
        except CatalogError:
            return None  # a catalog that cannot be read takes no stream down; the one that asks is told
        if wanted is not None and _jvm(wanted) != _jvm(self._started_with):
            return (
                f"the catalog's driver_memory, master or spark_conf of the driver {self._name!r} has changed"
            )
        return None

    def lost(self) -> str | None:
        # Before there is a context there is no gateway; while one is started, its own errors tell more.
        if self._first is not None and self._lost is None:
            from pyspark import SparkContext

            gateway = SparkContext._gateway
            if gateway is None or gateway.proc.poll() is not None:
                self._lost = "the JVM is gone (killed, or out of memory), and every stream with it"
        return self._lost

    def session(self, spec: StreamSpec) -> SparkSession:
        """A session of the stream's own in the one context; the first stream starts the JVM."""
        with self._lock:
            if self._first is None:
                self._first = self._start(spec)
            elif self._first.sparkContext._jsc.sc().isStopped():
                self._lost = "Spark has shut itself down, and every stream with it"
            own = self._first.newSession()
            own.conf.set("spark.sql.shuffle.partitions", str(max(2, spec.buckets)))
            # Streams take turns for the cores, task by task, instead of one waiting for all of another's job.
            # Inherited by the query from the thread that starts it.
            own.sparkContext.setLocalProperty("spark.scheduler.pool", spec.name)
            return own

    def close(self) -> None:
        """End Spark, if it lets itself be ended in time."""
        if self._first is not None and self._lost is None:
            stopper = threading.Thread(target=self._first.stop, daemon=True)
            stopper.start()
            stopper.join(CLOSE_WITHIN)

    def _start(self, spec: StreamSpec) -> SparkSession:
        from pyspark.java_gateway import ensure_callback_server_started

        wanted = self._wanted() or next(iter(shared_drivers([spec]).values()))
        joined = spec.model_copy(
            update={
                "name": f"shared-{self._name}",
                "driver_memory": wanted.driver_memory,
                "master": wanted.master,
                "spark_conf": {"spark.scheduler.mode": "FAIR"} | dict(wanted.spark_conf),
            }
        )
        log.info("starting the JVM: %s on %s", wanted.driver_memory, wanted.master)
        first = start_session(joined, self._settings.home / "streams" / joined.name / "scratch")
        # Two queries that begin at once would each start one.
        ensure_callback_server_started(first.sparkContext._gateway)
        self._started_with = wanted
        return first

    def _wanted(self) -> SharedDriver | None:
        """As the catalog has it now; None when no stream of the catalog shares this driver any more."""
        return shared_drivers(load_catalog(self._settings.catalog_dir).streams.values()).get(self._name)


class SharedPlace:
    """One stream's place in the process. `pid` is its handle's: that is what the stream host knows and ends."""

    def __init__(self, pid: int, shared: SharedSession) -> None:
        self.pid = pid
        self._shared = shared
        self._own: SparkSession | None = None

    def session(self, spec: StreamSpec, _scratch: Path, /) -> SparkSession:
        self._own = self._shared.session(spec)
        return self._own

    def leave(self, spark: SparkSession) -> None:
        """The others go on."""

    def jvm_exit(self) -> int | None:
        return None  # whose doing it was cannot be told

    def clear(self) -> None:
        """End what a driver that failed has left running: here no end of a process does it."""
        if self._own is not None and self._shared.lost() is None:
            for query in self._own.streams.active:
                query.stop()


class SharedStream:
    """A driver in a thread of the shared process."""

    def __init__(self, driver: StreamDriver, place: SharedPlace) -> None:
        self._driver, self._place = driver, place

    def run(self) -> int:
        try:
            return self._driver.live()
        finally:
            try:
                self._place.clear()
            except Exception as error:
                log.warning("a query could not be ended: %s", error)

    def ask_to_stop(self, why: str) -> None:
        self._driver.ask_to_stop(why)


def code_mark() -> tuple[int, int]:
    """Changes when the code of this installation does: how many modules there are, and when the newest was written."""
    times = [
        path.stat().st_mtime_ns
        for package in ("millrace", "spark_apps")
        for path in (PROJECT_ROOT / package).rglob("*.py")
    ]
    return len(times), max(times)


def _jvm(driver: SharedDriver) -> tuple[object, ...]:
    return driver.driver_memory, driver.master, driver.spark_conf


def main() -> None:
    """Serve until there is nothing to serve; then end at once, whatever threads are left."""
    parser = argparse.ArgumentParser(prog="python -m spark_apps.runtime.shared_driver")
    parser.add_argument("name")
    name = parser.parse_args().name
    start_logging()
    try:
        found = settings.load()
    except SettingsError as error:
        log.error("%s", error)
        sys.exit(exit_codes.BAD_CONFIGURATION)
    shared = SharedSession(name, found)
    host = SharedHost(shared_socket(found.home, name), shared)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: host.terminate())
    try:
        code = host.serve()
        log.info("the shared driver %s ends (exit %d)", name, code)
        if code != CRASHED:
            shared.close()
    except Exception:
        log.exception("the shared driver %s failed", name)
        code = CRASHED
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main()
