"""What Airflow says of itself over its REST API, and what that means for streams: health alone proves nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote

from millrace.control.supervised import dag_of
from millrace.doctor.finding import Finding, error, fine, warning

PART = "Airflow"
POOL = "publish"
BY_SCHEDULE = {
    "compact_hourly": "no hour is published",
    "quality_daily": "no day is judged",
    "maintenance": "nothing is let go, and the store and Airflow's database grow for ever",
}
BY_HAND = ("review_quarantine", "stream_control")
COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
RECENT = timedelta(hours=1)
UNTAKEN = timedelta(minutes=2)
"""A triggerer takes a deferred task within seconds."""


@dataclass(frozen=True)
class Deferred:
    """A task that waits in the triggerer, or for one."""

    dag_id: str
    taken: bool
    since: datetime


@dataclass(frozen=True)
class AirflowFacts:
    """What was asked of Airflow. `dags`: id to whether it is paused."""

    health: Mapping[str, str | None]
    dags: Mapping[str, bool]
    import_errors: Collection[str] = ()
    plugin_errors: Collection[str] = ()
    pool_slots: int | None = None
    deferred: Collection[Deferred] = ()
    never_began: Collection[str] = field(default_factory=tuple)
    """Tasks that failed within the last hour before any of their code ran."""
    succeeded: int = 0
    """Tasks that ended well within the last hour."""


class Asker(Protocol):
    """The part of Airflow's REST API that is needed; raises StackError."""

    def get(self, path: str) -> dict[str, Any]: ...


def gather(api: Asker, now: datetime) -> AirflowFacts:
    """Ask Airflow, in a handful of requests. Raises StackError when it does not answer."""
    health = api.get("/api/v2/monitor/health")
    since = quote((now - RECENT).isoformat())
    tasks = "/api/v2/dags/~/dagRuns/~/taskInstances?limit=100"
    failed = api.get(f"{tasks}&state=failed&updated_at_gte={since}")["task_instances"]
    deferred = api.get(f"{tasks}&state=deferred")["task_instances"]
    return AirflowFacts(
        health={name: (health.get(name) or {}).get("status") for name in COMPONENTS},
        dags={dag["dag_id"]: dag["is_paused"] for dag in api.get("/api/v2/dags?limit=500")["dags"]},
        import_errors=[
            f"{one['filename']}: {one['stack_trace'].strip().splitlines()[-1]}"
            for one in api.get("/api/v2/importErrors")["import_errors"]
        ],
        plugin_errors=[
            f"{one['source']}: {one['error'].strip().splitlines()[-1]}"
            for one in api.get("/api/v2/plugins/importErrors")["import_errors"]
        ],
        pool_slots=_slots(api.get("/api/v2/pools?limit=500")["pools"]),
        deferred=[
            Deferred(
                one["dag_id"],
                taken=(one.get("trigger") or {}).get("triggerer_id") is not None,
                since=datetime.fromisoformat(
                    (one.get("trigger") or {}).get("created_date") or now.isoformat()
                ),
            )
            for one in deferred
        ],
        never_began=[f"{one['dag_id']}.{one['task_id']}" for one in failed if not one.get("hostname")],
        succeeded=api.get(f"{tasks}&state=success&updated_at_gte={since}")["total_entries"],
    )


def judge(
    facts: AirflowFacts, known: Collection[str], started: Collection[str], now: datetime, *, atomic: bool
) -> Iterator[Finding]:
    """`known`: the streams and feeds of the catalog, as control names them; `started`: the streams that begin by
    themselves; `atomic`: the store's If-Match."""
    unhealthy = [name for name, status in facts.health.items() if status != "healthy"]
    for name in unhealthy:
        yield error(PART, f"its {name} is {facts.health[name] or 'not there'}", _mend(name))
    if not unhealthy:
        yield fine(PART, "api-server, scheduler, dag-processor and triggerer are healthy")
    yield from _code(facts, [*BY_SCHEDULE, *BY_HAND, *(dag_of(name) for name in known)])
    yield from _paused(facts, started)
    yield _pool(facts.pool_slots, atomic)
    yield from _work(facts, now)


def _mend(component: str) -> str:
    if component == "triggerer":
        return "start `airflow triggerer`: without it deferred tasks wait for ever, and no stream is watched"
    if component == "metadatabase":
        return "see the api-server's log, and the database's"
    return f"start `airflow {component.replace('_', '-')}`, or see its log"


def _code(facts: AirflowFacts, wanted: Collection[str]) -> Iterator[Finding]:
    for problem in facts.plugin_errors:
        yield error(
            PART, f"a plugin cannot be loaded: {problem}", "mend it, and restart Airflow's components"
        )
    for problem in facts.import_errors:
        yield error(
            PART, f"a DAG file cannot be read: {problem}", "mend it; what it held goes on as it was read last"
        )
    missing = sorted(set(wanted) - set(facts.dags))
    if missing:
        yield error(
            PART,
            f"it does not know {', '.join(missing)}",
            "put dags/ into its DAGs folder (docs/deploy.md), and wait for dag_processor.refresh_interval (300 s "
            "unless it is set)",
        )
    elif not facts.import_errors and not facts.plugin_errors:
        yield fine(PART, f"it knows all {len(wanted)} DAGs, and reads every file")


def _paused(facts: AirflowFacts, started: Collection[str]) -> Iterator[Finding]:
    for dag, consequence in BY_SCHEDULE.items():
        if facts.dags.get(dag):
            yield warning(
                PART, f"{dag} is paused: {consequence}", f"`airflow dags unpause {dag}`, or in its page"
            )
    unwatched = [name for name in started if facts.dags.get(dag_of(name))]
    if unwatched:
        yield warning(
            PART,
            f"paused: {', '.join(dag_of(name) for name in unwatched)}; these streams go unwatched",
            "unpause them; or take `autostart` from them in catalog/streams.yaml",
        )


def _pool(slots: int | None, atomic: bool) -> Finding:
    if slots is None:
        return error(
            PART,
            f"there is no pool {POOL!r}: the tasks that publish wait for ever",
            f"`airflow pools set {POOL} 1 'One publisher at a time'`",
        )
    if slots == 1 or (atomic and slots > 1):
        return fine(PART, f"pool {POOL!r} has {slots} slot{'s' if slots > 1 else ''}")
    do = f"`airflow pools set {POOL} 1 'One publisher at a time'`"
    if slots == 0:
        return error(PART, f"pool {POOL!r} has no slot: nothing is published", do)
    return error(
        PART,
        f"pool {POOL!r} has {slots} slots, and the store's If-Match is not atomic (MILLRACE_S3_IF_MATCH=checked): two "
        "publishers could overwrite each other's hours",
        f"{do}, or set MILLRACE_S3_IF_MATCH=atomic if the store decides and writes in one step",
    )


def _work(facts: AirflowFacts, now: datetime) -> Iterator[Finding]:
    if facts.never_began:
        names = ", ".join(sorted(set(facts.never_began))[:5])
        says = f"{len(facts.never_began)} task(s) failed in the last hour before they began: {names}"
        do = (
            "see the scheduler's log for the reason; usually AIRFLOW__API_AUTH__JWT_SECRET, its issuer or "
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL differ between the components"
        )
        yield warning(PART, says, do) if facts.succeeded else error(PART, f"{says}; none succeeded", do)
    elif facts.succeeded:
        yield fine(PART, f"{facts.succeeded} tasks succeeded in the last hour")
    untaken = sorted({one.dag_id for one in facts.deferred if not one.taken and now - one.since > UNTAKEN})
    if untaken:
        yield error(
            PART,
            f"no triggerer has taken the deferred tasks of {', '.join(untaken)}",
            "start `airflow triggerer` with the plugins folder of the others, and see its log",
        )
    elif facts.deferred:
        yield fine(PART, f"the triggerer watches {len(facts.deferred)} streams and feeds")


def _slots(pools: list[dict[str, Any]]) -> int | None:
    return next((int(pool["slots"]) for pool in pools if pool["name"] == POOL), None)
