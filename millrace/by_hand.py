"""A stream as a person runs it by hand: the catalog's entry with another source, other sinks, other options. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from millrace.catalog import Catalog, CatalogError, StreamSpec, parse_duration
from millrace.endpoints import Sink, Source, parse_sink, parse_source

Parsed = TypeVar("Parsed")


def spec_by_hand(
    catalog: Catalog,
    app: str,
    apps: Iterable[str],
    *,
    source: str | None = None,
    sinks: Sequence[str] = (),
    options: Sequence[str] = (),
    trigger: str | None = None,
) -> StreamSpec:
    """What `millrace run` runs: a stream of the catalog, or an app of `apps` that is in no stream.

    `options`: `key=value`, the value as it would stand in the catalog. Raises CatalogError, naming what was wrong
    on the command line.
    """
    known = catalog.streams.get(app)
    if known is None and app not in (apps := sorted({*apps, *catalog.streams})):
        raise CatalogError(f"there is no stream or app {app!r}; there are: {', '.join(apps)}")
    if known is None and source is None:
        raise CatalogError(f"{app} is in no stream of the catalog, so say what it reads: --source")
    read = _parsed("--source", parse_source, source) if source is not None else None
    written = tuple(_sink(catalog, app, word) for word in sinks) or (Sink("console"),)
    own = {} if known is None else {"trigger": known.trigger, "late_by": known.late_by, "app": known.app}
    fields: dict[str, Any] = {
        "app": app,
        **own,
        "name": app,
        "source": read or (known.source if known else None),
        "sinks": written,
        "options": {**(known.options if known else {}), **_options(options)},
    }
    if known is not None:
        fields["max_messages_per_batch"] = known.max_messages_per_batch
    if trigger is not None:
        fields["trigger"] = _parsed("--trigger", parse_duration, trigger)
    spec = StreamSpec.model_validate(fields)
    if spec.source.kind == "kafka" and spec.topic not in catalog.topics:
        raise CatalogError(f"--source: {_unknown_topic(spec.topic, catalog)}")
    return spec


def first_words(source: Source) -> str:
    """What it reads, for a person."""
    match source.kind:
        case "kafka":
            return f"topic {source.address} from its beginning"
        case "socket":
            return f"the lines of {source.address}; they cannot be read again"
        case "files":
            return f"the files of {source.address}, oldest first, and those that are moved there later"
        case "rate":
            return f"{source.address} numbered rows per micro-batch"


def last_words(spec: StreamSpec, in_catalog: bool) -> str:
    """What to look at next, for a person."""
    if spec.source.kind == "socket":
        address = spec.source.address
        return f"to keep such lines and read them again: `millrace feed lines {address}` brings them to Kafka"
    if in_catalog:
        return f"deployed by Airflow, as stream__{spec.name}, it keeps what it counts: `millrace up`"
    return "to deploy it, give it an entry in catalog/streams.yaml (docs/add-a-stream.md)"


def _sink(catalog: Catalog, app: str, word: str) -> Sink:
    sink = _parsed("--sink", parse_sink, word)
    if sink.kind in ("facts", "live"):
        raise CatalogError(
            f"--sink {sink}: a run by hand has no object store, and its state ends with it. `--sink console` shows "
            f"what each micro-batch brings; to keep it, deploy the stream: `millrace up`, then the DAG stream__{app}"
        )
    if sink.kind == "kafka" and sink.address not in catalog.topics:
        raise CatalogError(f"--sink: {_unknown_topic(sink.address, catalog)}")
    return sink


def _unknown_topic(topic: str, catalog: Catalog) -> str:
    return f"topic {topic!r} is not in topics.yaml; there are: {', '.join(sorted(catalog.topics)) or 'none'}"


def _options(pairs: Iterable[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise CatalogError(f"--option {pair!r}: write key=value, such as max_words=1000")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise CatalogError(
                f"--option {pair!r}: the value is not one that could stand in the catalog"
            ) from None
    return found


def _parsed(option: str, parse: Callable[[object], Parsed], text: str) -> Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise CatalogError(f"{option}: {error}") from None
