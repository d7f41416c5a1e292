"""What `millrace run` makes of its arguments, and what it says to wrong ones."""

from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.by_hand import first_words, last_words, spec_by_hand
from millrace.catalog import Catalog, CatalogError, load_catalog
from millrace.endpoints import Sink, Source
from millrace.settings import PROJECT_ROOT
from spark_apps.runtime.app import app_names, fold_of_app

APPS = ["word_count", "station_hourly", "alone"]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(PROJECT_ROOT / "catalog")


def test_the_catalog_entry_is_what_is_run_unless_said_otherwise(catalog: Catalog) -> None:
    spec = spec_by_hand(catalog, "word_count", APPS)
    entry = catalog.streams["word_count"]
    assert (spec.source, spec.trigger, spec.options) == (entry.source, entry.trigger, entry.options)
    assert spec.sinks == (Sink("console"),)


def test_everything_can_be_said_otherwise(catalog: Catalog) -> None:
    spec = spec_by_hand(
        catalog,
        "order_metrics",
        APPS,
        source="files://old orders",
        sinks=["console", "kafka://metrics"],
        options=["a=5", "b=2h", "c=[x, y]", "d=a=b"],
        trigger="500ms",
    )
    assert spec.source == Source("files", "old orders")
    assert spec.sinks == (Sink("console"), Sink("kafka", "metrics"))
    assert spec.options == {"a": 5, "b": "2h", "c": ["x", "y"], "d": "a=b"}
    assert spec.trigger == timedelta(milliseconds=500)
    assert spec.late_by == catalog.streams["order_metrics"].late_by
    assert (spec.dataset, spec.buckets) == (None, 1)


def test_an_app_without_an_entry_needs_only_a_source(catalog: Catalog) -> None:
    assert spec_by_hand(catalog, "alone", APPS, source="rate://3").source == Source("rate", "3")
    with pytest.raises(CatalogError, match="say what it reads: --source"):
        spec_by_hand(catalog, "alone", APPS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "nc:9999"}, "--source: 'nc:9999' is not a source; write kafka://TOPIC"),
        (
            {"source": "kafka://nothing"},
            "--source: topic 'nothing' is not in topics.yaml; there are: dead_letters",
        ),
        ({"sinks": ["printer"]}, "--sink: 'printer' is not a sink; write facts"),
        ({"sinks": ["facts"]}, "--sink facts: a run by hand has no object store"),
        ({"sinks": ["live"]}, "then the DAG stream__word_count"),
        ({"sinks": ["kafka://nothing"]}, "--sink: topic 'nothing' is not in topics.yaml"),
        ({"options": ["shown"]}, "--option 'shown': write key=value"),
        ({"options": ["shown=["]}, "--option 'shown=['"),
        ({"trigger": "soon"}, "--trigger: 'soon' is not a duration"),
    ],
)
def test_what_is_wrong_is_said(catalog: Catalog, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(CatalogError) as error:
        spec_by_hand(catalog, "word_count", APPS, **arguments)  # type: ignore[arg-type]
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_app_that_is_not_there_is_said_with_those_that_are(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="no stream or app 'wordcount'; there are: alone, order_metrics"):
        spec_by_hand(catalog, "wordcount", APPS)


def test_every_app_can_be_run_by_hand(catalog: Catalog) -> None:
    assert {"word_count", "order_metrics", "station_hourly"} <= set(app_names())
    for app in app_names():
        assert fold_of_app(spec_by_hand(catalog, app, app_names(), source="rate://1")).empty() is not None


def test_it_says_what_it_reads_and_what_to_look_at_next(catalog: Catalog) -> None:
    assert first_words(Source("socket", "h:1")) == "the lines of h:1; they cannot be read again"
    assert "moved there later" in first_words(Source("files", "d"))
    spec = spec_by_hand(catalog, "order_metrics", APPS)
    assert last_words(spec, in_catalog=True) == (
        "deployed by Airflow, as stream__order_metrics, it keeps what it counts: `millrace up`"
    )
    assert "docs/add-a-stream.md" in last_words(spec, in_catalog=False)
