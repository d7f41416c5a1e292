"""How a task reaches the store, the stream host and Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.catalog import StreamSpec
    from millrace.control.launcher import Launcher
    from millrace.settings import Settings
    from millrace.store import ObjectStore


def current_settings() -> Settings:
    from millrace import settings

    return settings.load()


def store_of(settings: Settings) -> ObjectStore:
    from millrace.store import open_store

    return open_store(settings)


def launcher_of(settings: Settings) -> Launcher:
    from millrace.control.launcher import StreamHost

    return StreamHost.of(settings)


def check_reset(store: ObjectStore, settings: Settings, spec: StreamSpec) -> None:
    """Raises OrderRefused when Kafka does not hold what a reset needs."""
    from spark_apps.runtime import ordered_reset

    ordered_reset.check_reset(store, settings, spec)
