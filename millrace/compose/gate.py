"""The last gate of the containers: ready only when data flow from the feeds to published hours.

That every container is healthy proves little: with one secret that differs, all of Airflow is, and every task fails. So
this waits for drivers that count, runs the DAG `compact_hourly`, waits for published hours, and makes all checks of
`millrace doctor`. Its answer, `ready` or `failed`, is in a file that the container's health check reads; the reason and
what to do are in its log. It goes on looking, so that `docker compose ps` tells the truth later too.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from millrace import settings
from millrace.catalog import Catalog, CatalogError, load_catalog
from millrace.compose.readiness import Sight, has_a_past, left_alone, not_working
from millrace.control.layout import ControlObjectError
from millrace.control.view import read_view
from millrace.doctor.airflow_access import PASSWORD, URL
from millrace.doctor.examine import examine, examine_quickly
from millrace.doctor.finding import Finding, count
from millrace.feeds.choice import DEFAULT
from millrace.local.airflow_api import AirflowApi
from millrace.local.errors import StackError
from millrace.settings import Settings, SettingsError
from millrace.store import StoreError, open_store

ANSWER, WITHIN = "MILLRACE_GATE_ANSWER", "MILLRACE_GATE_WITHIN"
SIGNS = {"fine": "✓", "warning": "!", "error": "✗"}
POLL = 2.0
LOOK_AGAIN = 60.0
COMPACTION, SUCCEEDED = "compact_hourly", "succeeded"


class NotReady(Exception):
    """What is missing still; the message says what to do."""


class Gate:
    """`url`: of Airflow's page, as people open it."""

    def __init__(self, here: Settings, catalog: Catalog, api: AirflowApi, url: str) -> None:
        self._here = here
        self._catalog = catalog
        self._api = api
        self._url = url
        self._store = open_store(here)
        self._feeds = catalog.begun_feeds(here.feeds)
        self._run: str | None = None
        self._left_alone: list[str] = []

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """In their order; each gives what it found, or raises NotReady."""
        return [
            ("Airflow", self.airflow),
            ("streams", self.streams),
            ("a run of compact_hourly", self.compaction),
            ("published hours", self.hours),
        ]

    def airflow(self) -> str:
        unhealthy = self._api.unhealthy()
        if unhealthy is None:
            raise NotReady("Airflow does not answer: see the log of airflow-api-server")
        if unhealthy:
            raise NotReady(
                f"of Airflow, {', '.join(unhealthy)} is not healthy: see the log of that container"
            )
        for problem in self._api.get("/api/v2/importErrors").get("import_errors", []):
            last = problem["stack_trace"].strip().splitlines()[-1]
            raise NotReady(f"Airflow cannot read {problem['filename']}: {last}")
        return "its four components are healthy, and every DAG file can be read"

    def streams(self) -> str:
        told = []
        self._left_alone = []
        for name in self._catalog.started(self._here.streams):
            sight = self._sight(name)
            if why := left_alone(name, sight):
                self._left_alone.append(name)
                told.append(why)
                continue
            if problem := not_working(name, sight, fed=self._is_fed(name)):
                raise NotReady(problem)
            assert sight.view.status is not None
            counted = sight.view.status.status
            told.append(f"{name} {counted.records:,} records, {counted.facts:,} facts")
        return "; ".join(told) or "none is to run"

    def compaction(self) -> str:
        dag = self._api.dag(COMPACTION)
        if dag is None:
            raise NotReady(
                f"Airflow has not read the DAG {COMPACTION} yet: see the log of airflow-dag-processor"
            )
        if dag["is_paused"]:
            return f"{COMPACTION} is paused, so it is not run"
        if self._run is None:
            self._run = self._api.trigger(COMPACTION)
        state = self._api.run_state(COMPACTION, self._run)
        page = f"{self._url}/dags/{COMPACTION}/runs/{self._run}"
        if state == "success":
            return SUCCEEDED
        if state == "failed":
            self._run = None  # the next look begins another
            raise NotReady(f"the run of {COMPACTION} failed: {page} has its tasks and their logs")
        raise NotReady(f"the run of {COMPACTION} is {state}: {page}, and the log of airflow-scheduler")

    def hours(self) -> str:
        found = {
            name: self._hours(name)
            for name in self._catalog.started(self._here.streams)
            if self._catalog.streams[name].dataset is not None and name not in self._left_alone
        }
        missing = [name for name, hours in found.items() if not hours and self._is_fed(name)]
        if missing and self.compaction() == SUCCEEDED:
            self._run = None  # another run may publish what has come since
            raise NotReady(
                f"no hour of {', '.join(missing)} is published, though its feed brings some: see {COMPACTION}"
            )
        told = [
            f"{name} {hours or 'none yet; an hour is due 5 min after its end'}"
            for name, hours in found.items()
        ]
        return ", ".join(told) or "no stream publishes any"

    def _sight(self, name: str) -> Sight:
        dag = self._api.dag(f"stream__{name}")
        if dag is None:
            raise NotReady(
                f"Airflow has not read the DAG stream__{name} yet: see the log of airflow-dag-processor"
            )
        view = read_view(self._store, name, datetime.now(UTC), self._catalog.streams[name].rules)
        return Sight(bool(dag["is_paused"]), view, self._hours(name, 1))

    def _hours(self, name: str, limit: int | None = None) -> int:
        if self._catalog.streams[name].dataset is None:
            return 0
        prefix = self._catalog.dataset_of(name).prefix
        return sum(1 for _ in itertools.islice(self._store.list_objects(f"{prefix}/"), limit))

    def _is_fed(self, name: str) -> bool:
        return has_a_past(self._catalog, self._catalog.streams[name].feed or DEFAULT, self._feeds)


def pass_through(gate: Gate, within: float, say: Callable[[str], None]) -> str | None:
    """Take the steps one after the other, each `within` seconds; None when all are taken, else what one still lacks."""
    for title, step in gate.steps():
        deadline, told = time.monotonic() + within, ""
        while True:
            try:
                say(f"✓ {title}: {step()}")
                break
            except (NotReady, StackError, StoreError, ControlObjectError) as problem:
                lacks = str(problem)
            if time.monotonic() > deadline:
                return lacks
            if lacks != told:
                told = lacks
                say(f"  waiting: {lacks}")
            time.sleep(POLL)
    return None


def look_again(gate: Gate, here: Settings, catalog: Catalog) -> str | None:
    """What is wrong by now, without starting anything."""
    try:
        gate.airflow()
        gate.streams()
    except (NotReady, StackError, StoreError, ControlObjectError) as problem:
        return str(problem)
    return errors_in(examine_quickly(here, catalog))


def errors_in(findings: list[Finding]) -> str | None:
    told = [
        f"{one.part}: {one.says}{f' → {one.do}' if one.do else ''}"
        for one in findings
        if one.level == "error"
    ]
    return "; ".join(told) or None


def look_closely(here: Settings, say: Callable[[str], None]) -> str | None:
    """All checks of `millrace doctor`, told one by one."""
    findings = []
    for one in examine(here):
        findings.append(one)
        say(f"{SIGNS[one.level]} {one.part}: {one.says}")
        if one.do:
            say(f"    → {one.do}")
    say(f"doctor: errors: {count(findings, 'error')}, warnings: {count(findings, 'warning')}")
    return errors_in(findings)


def main() -> None:
    begun = time.monotonic()
    answer = Path(os.environ[ANSWER])
    within = float(os.environ.get(WITHIN, "600"))

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {what}", flush=True)

    def tell(problem: str | None) -> None:
        answer.write_text("failed\n" if problem else "ready\n", encoding="utf-8")
        say(f"NOT READY: {problem}" if problem else "READY: data flow from the feeds to published hours")

    here = settings.load()
    catalog = load_catalog(here.catalog_dir)
    api = AirflowApi(os.environ[URL], os.environ[PASSWORD])
    gate = Gate(here, catalog, api, os.environ["AIRFLOW__API__BASE_URL"])
    while problem := pass_through(gate, within, say) or look_closely(here, say):
        tell(problem)
        within = 0.0
        time.sleep(LOOK_AGAIN)
    tell(None)
    while True:
        time.sleep(LOOK_AGAIN)
        before, problem = problem, look_again(gate, here, catalog)
        if problem != before:
            tell(problem)


if __name__ == "__main__":
    try:
        main()
    except (SettingsError, CatalogError) as error:
        print(f"gate: {error}", file=sys.stderr)
        sys.exit(1)
