"""The life of a feed under supervision: claim an epoch, let the earlier ones end, run, report, say why it ended.

Every kind of feed gets this without code of its own: it sends through one sink, fetches through one fetcher, and
what those see is what is reported.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from datetime import UTC, datetime

from millrace.catalog import Catalog, CatalogError, FeedSpec, load_catalog
from millrace.control import exit_codes
from millrace.control.epochs import claim_epoch
from millrace.control.health import silent_after
from millrace.control.heartbeat import Heartbeat
from millrace.control.hidden import has_hidden
from millrace.control.lease import Lease
from millrace.control.own_host import OwnHost
from millrace.control.status import DriverState, DriverStatus
from millrace.control.supervised import SupervisedFeed
from millrace.feeds.choice import default_feed
from millrace.feeds.compressed import RecordedError
from millrace.feeds.http import FetchFailed
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.predecessors import wait_for_predecessors
from millrace.feeds.run import run_feed
from millrace.feeds.secrets import redact
from millrace.feeds.sink import DeliveryError
from millrace.feeds.source_watch import SourceWatch
from millrace.feeds.stop import Stop
from millrace.kafka_topics import KafkaUnavailable, TopicError
from millrace.settings import Settings, SettingsError
from millrace.store import ObjectStore, StoreUnavailable, open_store

log = logging.getLogger(__name__)

CRASHED = 1
"""Any exit code that is not in control/exit_codes.py: the host starts it again."""

_BAD_CONFIGURATION = (CatalogError, SettingsError, TopicError, RecordedError)
_PASSING = (KafkaUnavailable, DeliveryError, FetchFailed, Interrupted, StoreUnavailable)


class SupervisedRun:
    """One life of one feed, from `run()` to its exit code."""

    def __init__(self, spec: SupervisedFeed, settings: Settings, revision: int) -> None:
        self._spec, self._settings, self._revision = spec, settings, revision
        self._store: ObjectStore = open_store(settings)
        self._stop = Stop()
        self._watch = SourceWatch()
        self._host = OwnHost()
        self._state: DriverState = "starting"
        self._error: str | None = None
        self._exit_code: int | None = None
        self._fenced_by = 0
        self._started_at = datetime.now(UTC)
        self._epoch = 0
        self._silent_after = silent_after(spec.heartbeat)
        self._lease = Lease(self._silent_after)

    def run(self) -> int:
        """Run until it ends or is told to; return the exit code (see control/exit_codes.py)."""
        name = self._spec.name
        began = self._lease.now()
        try:
            self._epoch = claim_epoch(self._store, name, spec_revision=self._revision)
        except StoreUnavailable as error:
            log.error("%s: not started, the object store does not answer: %s", name, error)
            return CRASHED
        self._lease.renew(began)
        log.info("%s: feed epoch %d", name, self._epoch)
        heartbeat = Heartbeat(
            self._store,
            name,
            self._epoch,
            self._spec.heartbeat.total_seconds(),
            status=self._status,
            on_stop=self._ask_to_stop,
            on_fenced=self._fence,
            lease=self._lease,
        )
        heartbeat.start()
        with self._stop.on_signals():
            wait_for_predecessors(self._store, name, self._epoch, self._silent_after, self._stop)
            state, code, words = self._run_guarded(heartbeat)
        self._state, self._exit_code, self._error = state, code, words
        heartbeat.end()
        level = logging.INFO if code in (exit_codes.STOPPED, exit_codes.FINISHED) else logging.ERROR
        log.log(level, "%s: %s (exit %d)", name, words or state, code)
        return code

    def _run_guarded(self, heartbeat: Heartbeat) -> tuple[DriverState, int, str | None]:
        def running() -> None:
            self._state = "running"
            heartbeat.wake()

        try:
            if not self._stop.is_set:
                catalog = load_catalog(self._settings.catalog_dir)
                run_feed(
                    runnable(self._spec, self._settings, catalog),
                    self._settings,
                    catalog,
                    stop=self._stop,
                    watch=self._watch,
                    lease=self._lease,
                    on_running=running,
                )
        except _BAD_CONFIGURATION as error:
            return "failed", exit_codes.BAD_CONFIGURATION, str(error)
        except _PASSING as error:
            if not (self._fenced_by or (self._stop.is_set and isinstance(error, Interrupted))):
                return "failed", CRASHED, str(error)
            log.info("%s", error)
        except Exception as error:
            log.exception("%s: the feed failed", self._spec.name)
            if self._fenced_by:
                return self._fenced()
            return "failed", CRASHED, f"{type(error).__name__}: {redact(str(error))[:2000]}"
        if self._fenced_by:
            return self._fenced()
        if self._stop.is_set:
            return "stopped", exit_codes.STOPPED, None
        return "finished", exit_codes.FINISHED, None

    def _fenced(self) -> tuple[DriverState, int, str | None]:
        """Whatever else went wrong: one that crashed would be started again, and fence its successor."""
        return "fenced", exit_codes.FENCED, f"feed epoch {self._fenced_by} has taken over"

    def _status(self) -> DriverStatus:
        seen = self._watch.seen()
        return DriverStatus(
            stream=self._spec.name,
            driver_epoch=max(self._epoch, 1),
            spec_revision=self._revision,
            host=socket.gethostname(),
            pid=os.getpid(),
            state=self._state,
            host_gone_at=self._host.gone_at(),
            started_at=self._started_at,
            heartbeat_at=datetime.now(UTC),
            last_progress_at=seen.last_stored_at,
            last_idle_at=seen.report.nothing_new_at,
            records=seen.stored,
            rejected=seen.rejected,
            lag=seen.waiting,
            error=self._error,
            exit_code=self._exit_code,
            feed=seen.report.model_copy(update={"lease_seconds": self._lease.seconds}),
        )

    def _ask_to_stop(self, why: str) -> None:
        if not self._stop.is_set:
            log.info("%s: ending: %s", self._spec.name, why)
            if self._state == "running":
                self._state = "stopping"
            self._stop.set()

    def _fence(self, newer: int) -> None:
        self._fenced_by = newer
        self._ask_to_stop(f"feed epoch {newer} has taken over")


def runnable(spec: SupervisedFeed, settings: Settings, catalog: Catalog) -> FeedSpec:
    """The feed as it can be run: with what is hidden in the store filled in from this machine's own catalog.

    Raises CatalogError when that is another feed by now.
    """
    plain = FeedSpec(
        name=spec.feed,
        kind=spec.kind,
        topic=spec.topic,
        options=spec.options,
        stop_within=spec.stop_within,
    )
    if not has_hidden(spec.options):
        return plain
    default = default_feed(settings, catalog)
    here = default if default.name == spec.feed else catalog.feeds.get(spec.feed)
    if here is None or SupervisedFeed.of(here).options != spec.options:
        raise CatalogError(
            f"{spec.name}: an address in its options has a part that must stay secret, and feeds.yaml or FEED says "
            "something else by now: `millrace stream redeploy` takes that"
        )
    return plain.model_copy(update={"options": here.options})


def run_supervised(spec: SupervisedFeed, settings: Settings, revision: int) -> int:
    """What the stream host becomes for a feed; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    logging.Formatter.converter = time.gmtime
    logging.Formatter.default_msec_format = "%s.%03dZ"
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO is a line with the URL per request
    return SupervisedRun(spec, settings, revision).run()
