"""All checks in order. None of them changes what is published, and none can keep the others from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from millrace.catalog import Catalog, CatalogError
from millrace.control.supervised import supervised
from millrace.doctor import airflow, here
from millrace.doctor.airflow_access import look_at_config, open_airflow
from millrace.doctor.finding import Finding, error
from millrace.local.errors import StackError
from millrace.settings import Settings, SettingsError
from millrace.store import open_store

ROUNDS, QUICK_ROUNDS = 20, 2
"""Of each race. One server that checks first and writes later had several winners in 84 of 100 rounds, so 20 find it
for sure, and two mostly."""

Check = Callable[[], Iterable[Finding]]


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything, in some ten seconds."""
    yield from _guarded("Python", here.look_at_python)
    yield from _guarded("Java", lambda: [here.look_at_java()])
    yield from _guarded("Jars", lambda: [here.look_at_jars()])
    catalog, found = here.read_catalog(settings)
    yield found
    yield from _guarded("Home", lambda: here.look_at_home(settings))
    if catalog is not None:
        yield from _guarded("Kafka", lambda: _kafka(settings, catalog, probe=True))
    yield from _guarded("Store", lambda: _store(settings, ROUNDS))
    yield from _guarded("Airflow", lambda: look_at_config(settings))
    if catalog is not None:
        yield from _guarded("Airflow", lambda: _airflow(settings, catalog))


def examine_quickly(settings: Settings, catalog: Catalog) -> list[Finding]:
    """What is worth asking at every start: a second or so."""
    checks: list[tuple[str, Check]] = [
        ("Kafka", lambda: _kafka(settings, catalog, probe=False)),
        ("Store", lambda: _store(settings, QUICK_ROUNDS)),
        ("Airflow", lambda: _airflow(settings, catalog)),
    ]
    return [finding for part, check in checks for finding in _guarded(part, check)]


def _kafka(settings: Settings, catalog: Catalog, *, probe: bool) -> Iterator[Finding]:
    from millrace.doctor.kafka import look_at_kafka

    return look_at_kafka(settings.kafka_access, catalog.topics, probe=probe)


def _store(settings: Settings, rounds: int) -> Iterator[Finding]:
    from millrace.doctor.store import look_at_store

    return look_at_store(open_store(settings), rounds=rounds)


def _airflow(settings: Settings, catalog: Catalog) -> Iterable[Finding]:
    opened = open_airflow(settings)
    if isinstance(opened, Finding):
        return [opened]
    now = datetime.now(UTC)
    return airflow.judge(
        airflow.gather(opened, now),
        list(supervised(catalog)),
        catalog.started(settings.streams),
        now,
        atomic=settings.if_match == "atomic",
    )


def _guarded(part: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except (StackError, SettingsError, CatalogError) as problem:
        yield error(part, str(problem), "")
    except Exception as problem:
        yield error(
            part,
            f"the check itself failed with {type(problem).__name__}: {problem}",
            "please report it with this line",
        )
