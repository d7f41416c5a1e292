"""The embedded stack as one object: its settings, its servers, its programs, and starting each of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from millrace.catalog import Catalog, CatalogError, load_catalog
from millrace.feeds.choice import DEFAULT
from millrace.local import feeds
from millrace.local.airflow_api import AirflowApi
from millrace.local.airflow_config import write_password_file
from millrace.local.airflow_database import ensure_database
from millrace.local.environment import stack_environment
from millrace.local.errors import StackError
from millrace.local.java import Java
from millrace.local.kafka import KafkaServer
from millrace.local.programs import (
    AIRFLOW_PROGRAMS,
    Program,
    config_file,
    log_dir,
    render_config,
    stack_programs,
)
from millrace.local.s3 import S3Server
from millrace.local.supervisor import Supervisor
from millrace.settings import Settings
from millrace.store import S3Store, open_store

ENDED_BADLY = frozenset({"FATAL", "EXITED"})

SERVER_WITHIN = 300.0
"""Seconds for a server to answer: 2 to 9 on an idle machine and 18 for Airflow. With ten processes waiting for each
core, the store took 105 and Airflow more than 180. One that ends is noticed at once."""
POLL = 0.3
"""Seconds between looks: rare enough that looking does not slow down what is looked at."""


class TimedOut(StackError):
    """What was waited for did not come in time."""


class Cancelled(Exception):
    """Another part of the start failed or was interrupted, so this one ends too."""


@dataclass(frozen=True)
class Stack:
    """`settings` must hold the S3 keys; `secrets` is what `ensure_secrets` gave."""

    settings: Settings
    secrets: dict[str, str]
    java: Java
    cancelled: threading.Event
    streams: tuple[str, ...] = ()
    """Those that it runs by itself."""
    feed: str = DEFAULT
    """As FEED has it."""
    begun: float = field(default_factory=time.time)
    """What a log says of before is no word on this start."""

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.home)

    @property
    def kafka(self) -> KafkaServer:
        ports = self.settings.ports
        return KafkaServer(self.home / "kafka", ports.kafka, ports.kafka_controller)

    @property
    def s3(self) -> S3Server:
        settings = self.settings
        assert settings.access_key
        assert settings.secret_key
        return S3Server(self.home / "s3", settings.ports.s3, settings.access_key, settings.secret_key)

    @cached_property
    def store(self) -> S3Store:
        return open_store(self.settings)

    @cached_property
    def api(self) -> AirflowApi:
        return AirflowApi.of(self.settings, self.secrets)

    @property
    def environment(self) -> dict[str, str]:
        return stack_environment(self.settings, self.secrets, self.java)

    def programs(self) -> list[Program]:
        return stack_programs(self.settings, self.kafka.command(), self.s3.command())

    @cached_property
    def feeds(self) -> feeds.Feeds:
        """Those that can run, and those that should. Raises StackError."""
        try:
            return feeds.Feeds.of(self.catalog, self.feed, self.streams)
        except CatalogError as error:
            raise StackError(str(error)) from None

    @cached_property
    def catalog(self) -> Catalog:
        """Raises StackError for a catalog that cannot be used."""
        try:
            return load_catalog(self.settings.catalog_dir)
        except CatalogError as error:
            raise StackError(str(error)) from None

    def configure(self) -> None:
        """Write every configuration file and start supervisord, with no program yet."""
        _ = self.catalog  # a mistake in it is said now, not by a program that dies of it
        config_file(self.home).write_text(render_config(self.home, self.programs()), encoding="utf-8")
        self.s3.prepare()
        write_password_file(self.settings, self.secrets)
        self.supervisor.start(self.environment)

    def start_kafka(self) -> None:
        """Kafka, answering, with the catalog's topics."""
        from millrace.kafka_topics import KafkaUnavailable, TopicError, ensure_topics

        self.kafka.prepare()
        self.supervisor.start_program("kafka")
        self.wait_for(self.kafka.is_ready, "kafka", SERVER_WITHIN)
        try:
            ensure_topics(self.settings.kafka, self.catalog.topics)
        except (TopicError, KafkaUnavailable) as error:
            raise StackError(str(error)) from None

    def start_s3(self) -> None:
        """The S3 server, answering, with the bucket."""
        self.supervisor.start_program("s3")
        self.wait_for(self.s3.is_ready, "s3", SERVER_WITHIN)
        self.store.ensure_bucket()

    def start_stream_host(self) -> None:
        """The stream host, taking orders; the streams begin when Airflow orders it."""
        self.supervisor.start_program("streamhost")
        self.wait_for(lambda: feeds.answers(self.settings), "streamhost", SERVER_WITHIN)

    def start_feeds(self, *, asked: bool) -> list[str]:
        """The feeds that should run; returns those that did not yet. `asked`: see `feeds.steps_towards`."""
        return feeds.bring_about(self.settings, self.store, self.feeds, asked=asked)

    def migrate_airflow(self) -> bool:
        """Airflow's database as its version needs it; True when there was something to do."""
        return ensure_database(self.settings, self.environment, log_dir(self.home) / "airflow-database.log")

    def start_airflow(self) -> None:
        """Airflow's four components, all reporting healthy."""
        for program in AIRFLOW_PROGRAMS:
            self.supervisor.start_program(program)
        api = self.api
        self.wait_for(
            lambda: api.unhealthy() == [], "airflow-api-server", SERVER_WITHIN, watched=AIRFLOW_PROGRAMS
        )

    def wait_for(
        self,
        condition: Callable[[], object],
        program: str,
        timeout: float,
        *,
        what: str = "",
        watched: tuple[str, ...] = (),
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        """Poll until true. Raises StackError when a watched program ends, TimedOut after `timeout` seconds in which
        what `progress` returns (looked at only then) has not changed: a slow machine is no broken one."""
        deadline = time.monotonic() + timeout
        seen = progress()
        while not condition():
            if self.cancelled.is_set():
                raise Cancelled
            for name in watched or (program,):
                state = self.supervisor.state(name)
                if state.state in ENDED_BADLY:
                    raise StackError(f"{name} does not stay up{self.last_words(name)}")
            if time.monotonic() > deadline and (now := progress()) != seen:
                seen, deadline = now, time.monotonic() + timeout
            if time.monotonic() > deadline:
                waited = what or f"{program} to answer"
                raise TimedOut(f"waited {timeout:.0f} s in vain for {waited}{self.last_words(program)}")
            time.sleep(POLL)

    def last_words(self, program: str) -> str:
        """The last line of a program's log, and where the rest is, to end an error message with."""
        log = log_dir(self.home) / f"{program}.log"
        try:
            fresh = log.stat().st_mtime >= self.begun
            text = log.read_text(encoding="utf-8", errors="replace") if fresh else ""
        except OSError:
            text = ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = f"; its last line: {lines[-1][:200]}" if lines else ""
        return f"{last} (more with `millrace logs {program}`)"
