"""What an app refuses before it starts anything, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.catalog import CatalogError, StreamSpec, load_catalog
from millrace.control import exit_codes
from millrace.settings import PROJECT_ROOT
from spark_apps import order_metrics, station_hourly
from spark_apps.runtime.app import fold_of_app, run_app

STREAMS = load_catalog(PROJECT_ROOT / "catalog").streams


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))


def spec_file(directory: Path, name: str, **changes: Any) -> str:
    path = directory / "spec.json"
    path.write_text(json.dumps(STREAMS[name].model_dump(mode="json") | changes))
    return str(path)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_every_stream_of_the_catalog_has_an_app_that_takes_its_options(name: str) -> None:
    fold = fold_of_app(STREAMS[name])
    assert fold.unpack(fold.pack(fold.empty())) is not None


def test_options_that_an_app_does_not_know_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = spec_file(tmp_path, "order_metrics", options={"widnow": "8s"})
    assert run_app("order_metrics", order_metrics.fold_of, ["--spec", path]) == exit_codes.BAD_CONFIGURATION
    assert "order_metrics.options.widnow is not a key that is known here" in caplog.text


def test_an_option_of_a_wrong_form_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = spec_file(tmp_path, "station_hourly", options={"max_gap": "long"})
    assert run_app("station_hourly", station_hourly.fold_of, ["--spec", path]) == exit_codes.BAD_CONFIGURATION
    assert "station_hourly.options.max_gap: 'long' is not a duration" in caplog.text


def test_an_app_that_counts_over_all_keys_has_one_bucket(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = spec_file(tmp_path, "order_metrics", sinks=["facts"], buckets=4)
    assert run_app("order_metrics", order_metrics.fold_of, ["--spec", path]) == exit_codes.BAD_CONFIGURATION
    assert "order_metrics.buckets must be 1: this app counts over all keys" in caplog.text


def test_an_app_that_is_not_there_is_named() -> None:
    with pytest.raises(CatalogError, match=r"s\.app: spark_apps/nothing\.py is not there"):
        fold_of_app(StreamSpec(name="s", app="nothing", source="rate://1", sinks=["console"]))
