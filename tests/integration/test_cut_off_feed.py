"""A feed that is cut off from the object store and not from Kafka: it falls silent before a successor begins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from millrace.catalog import load_catalog
from millrace.control import exit_codes
from millrace.control.desired import DesiredState, write_desired
from millrace.control.outdated import config_of
from millrace.control.status import DriverStatus, observe_status
from millrace.control.supervised import supervised
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store, open_store
from tests.chaos.proxy import FaultProxy, Trouble
from tests.conftest import running, wait_until
from tests.environment import environment_of
from tests.integration.feed_bench import FeedBench

pytestmark = pytest.mark.stack

NAME, TOPIC = "feed-made", f"cut_off_{os.getpid()}"
STARTS_WITHIN = 90.0
SILENT = 120.0
"""Seconds to wait for what comes 20 and 30 s after the store was last seen; an S3 client gives up only after some."""


class Stage:
    """Orders that are made up, 50 a second; instances that reach the store by doors of their own."""

    def __init__(self, settings: Settings, proxy: FaultProxy) -> None:
        self.settings, self.proxy = settings, proxy
        self.store: S3Store = open_store(settings)

    def log(self, door: str) -> Path:
        return self.settings.home / f"{door}.log"

    def said(self, door: str, words: str) -> int:
        return self.log(door).read_text().count(words)

    def wait_for(self, door: str, words: str) -> None:
        try:
            wait_until(lambda: self.said(door, words), SILENT, f"{door} to say {words!r}")
        except pytest.fail.Exception as failure:
            raise AssertionError(f"{failure}\n{self.log(door).read_text()[-3000:]}") from None

    @contextmanager
    def instance(self, door: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "millrace.commands.host", "exec", NAME]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MILLRACE_S3_ENDPOINT", self.proxy.endpoint(door))
            with running(command, self.log(door)) as process:
                yield process

    def cut_off(self, door: str) -> Trouble:
        return Trouble("reset", where=lambda request: request.door == door)

    def status(self, epoch: int) -> DriverStatus | None:
        seen = observe_status(self.store, NAME, epoch)
        return seen.status if seen else None

    def sends(self, epoch: int, more_than: int = 0) -> DriverStatus:
        def sent() -> bool:
            found = self.status(epoch)
            return found is not None and found.records > more_than

        wait_until(sent, STARTS_WITHIN, f"epoch {epoch} to send")
        found = self.status(epoch)
        assert found is not None
        return found

    def ids(self) -> list[int]:
        """The numbers of the orders in the topic, in its order."""
        values = FeedBench(self.settings.kafka, self.settings.home, TOPIC, "").values()
        return [int(line.split(b",")[1]) for line in values]


@pytest.fixture
def stage(
    kafka: str, store_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    catalog = tmp_path / "catalog"
    shutil.copytree(PROJECT_ROOT / "catalog", catalog)
    feed = {"kind": "orders", "topic": TOPIC, "options": {"rate": 50}, "heartbeat": "300ms"}
    (catalog / "feeds.yaml").write_text(yaml.safe_dump({"made": feed}))
    for name in ("streams", "datasets"):
        (catalog / f"{name}.yaml").write_text("")
    (catalog / "topics.yaml").write_text(yaml.safe_dump({TOPIC: {}}))
    settings = replace(store_settings, kafka=kafka, catalog_dir=catalog)
    settings.home.mkdir(parents=True)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    proxy = FaultProxy(urlsplit(settings.s3_endpoint or "").port or 0, ("first", "second"))
    proxy.start()
    spec = supervised(load_catalog(catalog))[NAME]
    wanted = DesiredState(
        state="running", spec_revision=1, config=config_of(spec), who="a", why="b", at=datetime.now(UTC)
    )
    write_desired(open_store(settings), NAME, wanted, replacing=None)
    try:
        yield Stage(settings, proxy)
    finally:
        proxy.stop()


def test_a_feed_that_is_cut_off_from_the_store_pauses_and_gives_way_to_one_that_is_not(stage: Stage) -> None:
    with stage.instance("first") as first:
        stage.sends(1)
        with stage.proxy.trouble(stage.cut_off("first")):
            stage.wait_for("first", "PAUSED: the object store has not said for 20 s")
            paused = len(stage.ids())
            assert paused > stage.sends(1).records, "it went on for a while: a short outage stops nothing"
        stage.wait_for("first", "it is still the newest instance")
        before = stage.sends(1, more_than=paused).records
        with stage.proxy.trouble(stage.cut_off("first")), stage.instance("second") as second:
            stage.wait_for("second", "waits until feed epoch 1 has ended")
            assert stage.status(2).state == "starting"
            after = stage.sends(2)
            assert stage.said("first", "PAUSED") == 2, "silent before the second began"
            assert first.poll() is None
            stage.sends(2, more_than=after.records + 50)
            second.terminate()
            assert second.wait(STARTS_WITHIN) == exit_codes.STOPPED
        assert first.wait(STARTS_WITHIN) == exit_codes.FENCED
    ended = stage.status(1)
    assert ended is not None
    assert (ended.state, ended.error) == ("fenced", "feed epoch 2 has taken over")
    sent = stage.ids()
    assert sent == list(range(1, len(sent) + 1)), "nothing missing, nothing twice"
    assert len(sent) > before + 50
