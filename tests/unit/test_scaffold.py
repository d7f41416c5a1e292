"""`millrace new stream`: what it writes is sound whatever the names, and it never touches what is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.catalog import CatalogError, load_catalog
from millrace.quality.suite import load_suite
from millrace.scaffold.stream import NewStream, ScaffoldError, plan_stream, write_stream
from millrace.settings import PROJECT_ROOT

OURS = 'lint.isort.known-first-party = ["millrace", "spark_apps"]'
LONG = "a_name_of_thirty_letters_as_it"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a catalog, and none of its code."""
    shutil.copytree(PROJECT_ROOT / "catalog", tmp_path / "catalog")
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plan(root: Path, name: str = "page_views", **words: str) -> NewStream:
    return plan_stream(root, root / "catalog", name, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("page_views", {"key": "page", "count": "views", "total": "bytes"}),
        ("zz", {"topic": "x" * 60, "key": "k2", "count": "c2", "total": "s2"}),
        (LONG, {"key": f"k{LONG[1:]}", "count": f"c{LONG[1:]}", "total": f"s{LONG[1:]}"}),
    ],
)
def test_what_is_written_is_a_catalog_and_passes_the_linter(
    root: Path, name: str, words: dict[str, str]
) -> None:
    before = {path: path.read_text() for path in (root / "catalog").iterdir()}
    new = plan(root, name, **words)
    write_stream(new)
    catalog = load_catalog(root / "catalog")
    spec, dataset = catalog.streams[name], catalog.dataset_of(name)
    assert (spec.app, spec.topic, spec.autostart) == (name, words.get("topic", name), False)
    assert list(dataset.columns) == [
        words["key"],
        "window_start",
        "window_end",
        words["count"],
        words["total"],
    ]
    assert json.loads((root / "expectations" / f"{name}_hourly.json").read_text())["dataset"] == dataset.name
    for path, text in before.items():
        assert path.read_text().startswith(text), "comments and entries stay as they were"
    files = [str(path) for path in new.files if path.suffix == ".py"]
    for check in (["check", "--no-cache", "--config", OURS], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *files], cwd=root, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_the_suite_is_one_that_great_expectations_knows(root: Path) -> None:
    write_stream(plan(root, key="page"))
    dataset = load_catalog(root / "catalog").datasets["page_views_hourly"]
    suite = load_suite(root / "expectations" / "page_views_hourly.json", dataset)
    assert len(suite.expectations) == 7


def test_a_topic_that_is_there_is_used_as_it_is(root: Path) -> None:
    topics = (root / "catalog" / "topics.yaml").read_text()
    write_stream(plan(root, topic="orders"))
    assert (root / "catalog" / "topics.yaml").read_text() == topics
    assert load_catalog(root / "catalog").streams["page_views"].topic == "orders"


@pytest.mark.parametrize(
    "name", ["", "x", "Page", "page-views", "2fast", "class", "../up", f"{LONG}s", "page views"]
)
def test_a_name_that_cannot_be_one_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ScaffoldError, match="cannot be the name of a stream"):
        plan(root, name)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"topic": "a/b"}, "not the name of a Kafka topic"),
        ({"key": "Page"}, "'Page' cannot be the name of a column"),
        ({"count": "window_start"}, "'window_start' cannot be the name of a column"),
        ({"key": "same", "total": "same"}, "must have different names"),
    ],
)
def test_other_words_that_cannot_be_are_refused(root: Path, words: dict[str, str], said: str) -> None:
    with pytest.raises(ScaffoldError, match=said):
        plan(root, **words)


def test_a_stream_of_the_catalog_is_refused(root: Path) -> None:
    with pytest.raises(ScaffoldError, match="'order_metrics' is in the catalog already"):
        plan(root, "order_metrics")


@pytest.mark.parametrize(
    "there",
    [
        "spark_apps/page_views.py",
        "spark_apps/page_views/__init__.py",
        "spark_apps/transforms/page_views.py",
        "expectations/page_views_hourly.json",
        "tests/unit/transforms/test_page_views.py",
    ],
)
def test_nothing_that_is_there_is_overwritten(root: Path, there: str) -> None:
    planned = plan(root)
    (root / there).parent.mkdir(parents=True, exist_ok=True)
    (root / there).write_text("mine")
    with pytest.raises(ScaffoldError, match="is there already; choose another name"):
        plan(root)
    if not there.endswith("__init__.py"):  # it came between planning and writing
        catalog = (root / "catalog" / "streams.yaml").read_text()
        with pytest.raises(ScaffoldError, match="nothing was written"):
            write_stream(planned)
        assert (root / "catalog" / "streams.yaml").read_text() == catalog
        assert [path for path in planned.files if path.exists()] == [root / there]
    assert (root / there).read_text() == "mine"


def test_a_catalog_that_would_not_be_one_afterwards_is_left_as_it_is(root: Path) -> None:
    planned = plan(root)
    (root / "catalog" / "datasets.yaml").write_text("page_views_hourly: {}\n")
    with pytest.raises(CatalogError, match="nothing was written"):
        write_stream(planned)
    assert not any(path.exists() for path in planned.files)
