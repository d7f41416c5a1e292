"""The catalog: every mistake is refused with file, key and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.catalog import Catalog, CatalogError, load_catalog
from millrace.endpoints import Sink, Source, parse_sink, parse_source
from millrace.settings import PROJECT_ROOT
from millrace.shared_drivers import shared_drivers

STREAM = {"app": "a", "source": "kafka://polls", "dataset": "counts"}
DATASET = {
    "prefix": "counts",
    "keys": ["key"],
    "columns": {"key": "string", "n": "int64", "at": "timestamp"},
    "writers": ["s"],
}


def load(directory: Path, **files: Any) -> Catalog:
    content = {
        "topics": {"polls": {}},
        "streams": {"s": STREAM},
        "feeds": {},
        "datasets": {"counts": DATASET},
    }
    for name, entries in (content | files).items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(entries))
    return load_catalog(directory)


def stream(**changes: Any) -> dict[str, Any]:
    entry = {key: value for key, value in (STREAM | changes).items() if value is not None}
    return {"streams": {"s": entry}}


def shared(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {"streams": {"s": STREAM | first, "t": STREAM | second}}


def dataset(**changes: Any) -> dict[str, Any]:
    return {"datasets": {"counts": DATASET | changes}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (stream(source=None), r"streams\.yaml: s\.source is missing"),
        (stream(shift="1s"), r"s\.shift: 1s is out of bounds: write 1min to 7d"),
        (stream(name="t"), r"streams\.yaml: s\.name: remove it, the name is s"),
        (
            stream(source="kafka"),
            r"streams\.yaml: s\.source: 'kafka' is not a source; write kafka://TOPIC, socket",
        ),
        (stream(source="pulsar://x"), r"s\.source: 'pulsar://x' is not a source"),
        (stream(source="kafka://a b"), r"'a b' is not the name of a Kafka topic"),
        (stream(source="kafka://other"), r"s\.source: 'other' is not in topics\.yaml; there are: polls"),
        (stream(source="socket://host"), r"write socket://HOST:PORT"),
        (stream(source="socket://host:70000"), r"write socket://HOST:PORT"),
        (stream(source="rate://fast"), r"write rate://ROWS"),
        (stream(sinks=["facts", "kafka"]), r"s\.sinks\.1: 'kafka' is not a sink; write facts, kafka://TOPIC"),
        (stream(sinks=["facts", "kafka://other"]), r"s\.sinks: 'other' is not in topics\.yaml"),
        (stream(dataset=None), r"dataset and the sink `facts` go together"),
        (stream(sinks=["live"]), r"dataset and the sink `facts` go together"),
        (stream(sinks=["facts", "live"], buckets=2), r"buckets must be 1 unless"),
        (stream(source="files://d", buckets=2), r"buckets must be 1 unless"),
        (stream(feed="other"), r"s\.feed: 'other' is not in feeds\.yaml; there are: none"),
        (stream(driver="Light"), r"s\.driver: .*\(found 'Light'\)"),
        (stream(driver="l" * 21), r"s\.driver: .*at most 20 characters"),
        (
            stream(driver="light", source="files://d"),
            r"streams\.yaml: s: driver: only a stream that reads kafka",
        ),
        (
            shared({"driver": "light"}, {"driver": "light", "master": "local[4]"}),
            r"streams\.yaml: t\.master: 'local\[4\]', but s has None, and both share the driver 'light'",
        ),
        (
            shared({"driver": "light", "spark_conf": {"a": "1"}}, {"driver": "light"}),
            r"streams\.yaml: t\.spark_conf: \{\}, but s has \{'a': '1'\}.*write the same in both",
        ),
        (stream(topic="polls"), r"s\.topic is not a key that is known here"),
        (dataset(defaults={"nothing": 1}), r"counts\.defaults: 'nothing' is not in counts\.columns"),
        (dataset(defaults={"n": "one"}), r"counts\.defaults\.n: 'one' is not a value of type int64"),
        (dataset(defaults={"n": True}), r"counts\.defaults\.n: True is not a value of type int64"),
        (dataset(defaults={"key": "x"}), r"counts\.defaults\.key: a column that says which row it is"),
        (dataset(defaults={"at": 5}), r"counts\.defaults\.at: a timestamp can have no default"),
        (dataset(columns={"key": "text"}), r"counts\.columns\.key: .*'string'.*\(found 'text'\)"),
        (dataset(writers=["other"]), r"counts\.writers: 'other' is not in streams\.yaml"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        load(tmp_path, **files)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"s:\n  app: a\nt:\n  app: b\ns:\n  app: c\n", r"s is there twice\n.*line 5, column 1:\n    s:"),
        (b"s:\n  app: a\n  app: b\n", r"app is there twice\n.*line 3"),
        (b"s:\n\tapp: a\n", r"not valid YAML: .*\n.*'\\t'.*\n.*line 2"),
        (b"# caf\xe9\n", "cannot be read: 'utf-8' codec can't decode byte 0xe9"),
        (b"s:\n  app: 2026-13-01\n", "cannot be read: month must be in 1..12"),
    ],
)
def test_a_file_that_is_not_as_yaml_should_be_is_named(tmp_path: Path, body: bytes, message: str) -> None:
    load(tmp_path)
    (tmp_path / "streams.yaml").write_bytes(body)
    with pytest.raises(CatalogError, match=rf"streams\.yaml .*{message}"):
        load_catalog(tmp_path)


def test_what_a_merge_brings_may_be_said_again(tmp_path: Path) -> None:
    load(tmp_path)
    merged = "s: &s {app: a, source: 'kafka://polls', sinks: [console]}\nt: {<<: *s, app: b}\n"
    (tmp_path / "streams.yaml").write_text(merged)
    (tmp_path / "datasets.yaml").write_text("")
    assert load_catalog(tmp_path).streams["t"].app == "b"


def test_a_stream_without_facts_needs_no_dataset(tmp_path: Path) -> None:
    entry = {"app": "a", "source": "socket://127.0.0.1:9999", "sinks": ["live", "console"]}
    catalog = load(tmp_path, streams={"s": STREAM, "words": entry})
    words = catalog.streams["words"]
    assert (words.lineage, words.topic, words.source.host_and_port) == (
        "words",
        "socket://127.0.0.1:9999",
        ("127.0.0.1", 9999),
    )
    assert not words.source.is_replayable
    with pytest.raises(CatalogError, match="words writes no facts"):
        catalog.dataset_of("words")


def test_sources_and_sinks_are_written_as_they_are_read() -> None:
    for text in ("kafka://polls", "socket://[::1]:9999", "files:///var/lines", "rate://10"):
        assert str(parse_source(text)) == text
    for text in ("facts", "kafka://metrics", "live", "console"):
        assert str(parse_sink(text)) == text
    assert parse_source("socket://[::1]:9999").host_and_port == ("::1", 9999)
    assert parse_source(Source("rate", "1")) == Source("rate", "1")
    assert parse_sink(Sink("live")) == Sink("live")


def test_which_streams_begin_by_themselves(tmp_path: Path) -> None:
    catalog = load(tmp_path, streams={"s": STREAM, "later": STREAM | {"autostart": False}})
    assert catalog.started("") == ["s"]
    assert catalog.started("later, s") == ["later", "s"]
    with pytest.raises(CatalogError, match=r"there is no stream 'x' in streams\.yaml; there are: later, s"):
        catalog.started("x")
    with pytest.raises(CatalogError, match="MILLRACE_STREAMS=, names no stream; there are: "):
        catalog.started(",")


def test_what_a_driver_is_started_with_reads_back_the_same() -> None:
    for spec in load_catalog(PROJECT_ROOT / "catalog").streams.values():
        again = type(spec).model_validate_json(spec.model_dump_json())
        assert again.model_dump() == spec.model_dump()
        assert not {"feed", "autostart", "retention"} & set(spec.model_dump())


def test_streams_that_share_a_driver_get_the_memory_of_the_largest(tmp_path: Path) -> None:
    first = {"driver": "light", "driver_memory": "900m", "stop_within": "20s"}
    found = load(tmp_path, **shared(first, {"driver": "light", "driver_memory": "1g"}))
    (driver,) = shared_drivers(found.streams.values()).values()
    assert (driver.streams, driver.driver_memory, driver.stop_within) == (("s", "t"), "1g", 60)


def test_streams_on_different_drivers_may_differ(tmp_path: Path) -> None:
    found = load(tmp_path, **shared({"driver": "light", "master": "local[4]"}, {"driver": "other"}))
    assert sorted(shared_drivers(found.streams.values())) == ["light", "other"]
    assert shared_drivers(load(tmp_path).streams.values()) == {}


def test_feeds_that_begin_by_themselves_are_those_of_the_setting() -> None:
    catalog = load_catalog(PROJECT_ROOT / "catalog")
    assert catalog.begun_feeds("") == []
    assert catalog.begun_feeds("city, orders") == ["city", "orders"]
    with pytest.raises(
        CatalogError, match=r"MILLRACE_FEEDS=city,town: there is no feed 'town' in feeds\.yaml"
    ):
        catalog.begun_feeds("city,town")
