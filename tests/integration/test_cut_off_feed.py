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

FOLLOWED, ALONE = "feed-followed", "feed-alone"
TOPICS = {name: f"{name.replace('-', '_')}_{os.getpid()}" for name in (FOLLOWED, ALONE)}
STARTS_WITHIN = 90.0
SILENT = 120.0
"""Seconds to wait for what comes 20 and 30 s after the store was last seen; an S3 client gives up only after some."""


class Stage:
    """Two feeds of orders that are made up, 50 a second; instances that reach the store by doors of their own."""

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
    def instance(self, feed: str, door: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "millrace.commands.host", "exec", feed]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MILLRACE_S3_ENDPOINT", self.proxy.endpoint(door))
            with running(command, self.log(door)) as process:
                yield process

    def cut_off(self, *doors: str) -> Trouble:
        return Trouble("reset", where=lambda request: request.door in doors)

    def status(self, feed: str, epoch: int) -> DriverStatus | None:
        seen = observe_status(self.store, feed, epoch)
        return seen.status if seen else None

    def sends(self, feed: str, epoch: int, more_than: int = 0) -> DriverStatus:
        def sent() -> bool:
            found = self.status(feed, epoch)
            return found is not None and found.records > more_than

        wait_until(sent, STARTS_WITHIN, f"epoch {epoch} of {feed} to send")
        found = self.status(feed, epoch)
        assert found is not None
        return found

    def ids(self, feed: str) -> list[int]:
        """The numbers of the orders in its topic, in the order there."""
        values = FeedBench(self.settings.kafka, self.settings.home, TOPICS[feed], "").values()
        return [int(line.split(b",")[1]) for line in values]


@pytest.fixture
def stage(
    kafka: str, store_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    catalog = tmp_path / "catalog"
    shutil.copytree(PROJECT_ROOT / "catalog", catalog)
    feeds = {
        name.removeprefix("feed-"): {
            "kind": "orders", "topic": topic, "options": {"rate": 50}, "heartbeat": "300ms"
        }
        for name, topic in TOPICS.items()
    }  # fmt: skip
    (catalog / "feeds.yaml").write_text(yaml.safe_dump(feeds))
    for name in ("streams", "datasets"):
        (catalog / f"{name}.yaml").write_text("")
    (catalog / "topics.yaml").write_text(yaml.safe_dump({topic: {} for topic in TOPICS.values()}))
    settings = replace(store_settings, kafka=kafka, catalog_dir=catalog)
    settings.home.mkdir(parents=True)
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    proxy = FaultProxy(urlsplit(settings.s3_endpoint or "").port or 0, ("first", "second", "alone"))
    proxy.start()
    for name, spec in supervised(load_catalog(catalog)).items():
        wanted = DesiredState(
            state="running", spec_revision=1, config=config_of(spec), who="a", why="b", at=datetime.now(UTC)
        )
        write_desired(open_store(settings), name, wanted, replacing=None)
    try:
        yield Stage(settings, proxy)
    finally:
        proxy.stop()


def test_feeds_that_are_cut_off_from_the_store_pause_and_give_way_to_one_that_is_not(stage: Stage) -> None:
    with stage.instance(FOLLOWED, "first") as first, stage.instance(ALONE, "alone") as alone:
        stage.sends(FOLLOWED, 1)
        stage.sends(ALONE, 1)
        with (
            stage.proxy.trouble(stage.cut_off("first", "alone")),
            stage.instance(FOLLOWED, "second") as second,
        ):
            stage.wait_for("second", "waits until feed epoch 1 has ended")
            assert stage.status(FOLLOWED, 2).state == "starting"
            after = stage.sends(FOLLOWED, 2)
            assert stage.said("first", "PAUSED: the object store has not said for 20 s") == 1, (
                "silent before the second began"
            )
            assert first.poll() is None
            stage.wait_for("alone", "PAUSED: the object store has not said for 20 s")
            paused = len(stage.ids(ALONE))
            assert paused > stage.sends(ALONE, 1).records, (
                "it went on for a while: a short outage stops nothing"
            )
            stage.sends(FOLLOWED, 2, more_than=after.records + 50)
            second.terminate()
            assert second.wait(STARTS_WITHIN) == exit_codes.STOPPED
        assert first.wait(STARTS_WITHIN) == exit_codes.FENCED
        stage.wait_for("alone", "it is still the newest instance")
        stage.sends(ALONE, 1, more_than=paused)
        alone.terminate()
        assert alone.wait(STARTS_WITHIN) == exit_codes.STOPPED
    ended = stage.status(FOLLOWED, 1)
    assert ended is not None
    assert (ended.state, ended.error) == ("fenced", "feed epoch 2 has taken over")
    for feed in TOPICS:
        sent = stage.ids(feed)
        assert sent == list(range(1, len(sent) + 1)), "nothing missing, nothing twice"
    assert len(stage.ids(ALONE)) > paused
