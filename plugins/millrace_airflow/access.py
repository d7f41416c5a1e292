"""How a task reaches the store and the stream host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
