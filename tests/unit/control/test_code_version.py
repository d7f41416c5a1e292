from __future__ import annotations

import gc
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from millrace import settings
from millrace.control import code_version as module
from millrace.control.code_version import code_files, code_version
from millrace.control.kept_code import KEPT, environment_for, keep_code, kept_code
from millrace.control.outdated import code_difference
from millrace.settings import PROJECT_ROOT
from tests.unit.control.samples import status


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("millrace", "spark_apps", "catalog"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def changed(path: Path) -> None:
    path.write_text(path.read_text() + "\n# another line\n")


def test_it_covers_what_the_driver_runs_and_nothing_else() -> None:
    stations, orders = code_files("station_hourly"), code_files("order_metrics")
    for covered in (
        "spark_apps/station_hourly.py",
        "spark_apps/transforms/stations.py",
        "spark_apps/runtime/stream_driver.py",
        "spark_apps/runtime/log4j2.properties",
        "spark_apps/runtime/trial.py",
        "millrace/catalog.py",
        "millrace/publish/codec.py",
        "millrace/__init__.py",
    ):
        assert covered in stations
    assert "spark_apps/transforms/orders.py" in orders
    assert "spark_apps/transforms/orders.py" not in stations
    assert not [name for name in stations if name.startswith(("millrace/feeds", "millrace/commands"))]


@pytest.mark.parametrize(
    ("file", "is_another"),
    [
        ("spark_apps/transforms/stations.py", True),
        ("spark_apps/runtime/micro_batch.py", True),
        ("millrace/publish/landing.py", True),
        ("millrace/local/jars.lock.json", True),
        ("millrace/feeds/http.py", False),
        ("spark_apps/transforms/orders.py", False),
        ("spark_apps/order_metrics.py", False),
        ("catalog/streams.yaml", False),
    ],
)
def test_a_change_makes_another_version_only_of_what_uses_it(
    project: Path, file: str, is_another: bool
) -> None:
    before = code_version("station_hourly", project)
    assert before == code_version("station_hourly"), "it does not depend on where the code is"
    changed(project / file)
    assert (code_version("station_hourly", project) != before) is is_another


def test_there_is_none_of_what_is_not_there_or_does_not_parse(project: Path) -> None:
    assert code_version("no_such_app", project) is None
    (project / "spark_apps" / "transforms" / "stations.py").write_text("def (")
    assert code_version("station_hourly", project) is None


def test_a_driver_of_other_code_is_outdated_until_it_ends(project: Path) -> None:
    now = code_version("station_hourly", project)
    assert code_difference("station_hourly", None, project) == []
    assert code_difference("station_hourly", status(), project) == []
    assert code_difference("station_hourly", status(code=now), project) == []
    assert code_difference("station_hourly", status(code="0.1.0+old"), project) == [
        f"code: 0.1.0+old runs, {now} is there now"
    ]
    assert code_difference("station_hourly", status("stopped", code="0.1.0+old"), project) == []


def test_the_last_two_versions_are_kept_whole_and_only_if_they_are_what_runs(
    project: Path, tmp_path: Path
) -> None:
    here = replace(settings.load({}), home=tmp_path / "home", catalog_dir=project / "catalog")
    versions = []
    for _ in range(KEPT + 1):
        changed(project / "spark_apps" / "transforms" / "stations.py")
        version = code_version("station_hourly", project)
        assert keep_code(here, "bikes", "station_hourly", version, project)
        versions.append(version)
    assert not keep_code(here, "bikes", "station_hourly", "0.1.0+another", project)
    place = tmp_path / "home" / "streams" / "bikes" / "code"
    assert {path.name for path in place.iterdir()} == set(versions[1:])
    newest = kept_code(here.home, "bikes", versions[-1])
    assert code_version("station_hourly", newest) == versions[-1]
    assert kept_code(here.home, "bikes", versions[0]) is None
    given = environment_for(here, newest)
    assert given["MILLRACE_CATALOG"] == str(newest / "catalog")
    assert (newest / "catalog" / "streams.yaml").is_file()


def test_streams_of_one_process_may_ask_for_it_at_the_same_time() -> None:
    """As those of a shared driver do, and those that a triggerer watches."""
    expected = [code_files("station_hourly"), code_files("order_metrics")] * 2
    # Threads meet within a parse when garbage is collected there and something in Python hears of it.
    before, let_others = gc.get_threshold(), lambda *_: time.sleep(0)
    gc.callbacks.append(let_others)
    gc.set_threshold(100)
    try:
        module._imports.cache_clear()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(code_files, ["station_hourly", "order_metrics"] * 2))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(let_others)
    assert found == expected
