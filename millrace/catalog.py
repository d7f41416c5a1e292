"""The catalog: which topics, streams, feeds and datasets there are, read from `catalog/*.yaml`.

This is what a user edits first, so every mistake is answered with the file, the key and what would be
right, and nothing is guessed: an unknown key is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from millrace import strict_yaml
from millrace.durations import Duration as Duration
from millrace.durations import format_duration as format_duration
from millrace.durations import parse_duration as parse_duration
from millrace.endpoints import Sink, SinkKind, SinkWord, SourceWord
from millrace.shared_drivers import Disagreement, shared_drivers
from millrace.supervision import WithRules, between

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class CatalogError(ValueError):
    """The catalog cannot be used; the message names file and key and says what would be right."""


def _parse_kept(value: object) -> timedelta | None:
    """A duration of at least a day, or 'forever' as None: 30m is half an hour, hardly what was meant."""
    if value is None or value == "forever":
        return None
    kept = parse_duration(value)
    if kept < timedelta(days=1):
        raise ValueError(f"{format_duration(kept)} is too short: write at least 1d, or forever")
    return kept


Kept = Annotated[
    timedelta | None,
    BeforeValidator(_parse_kept),
    PlainSerializer(lambda kept: "forever" if kept is None else format_duration(kept), when_used="json"),
]
"""How long something is kept; None: for ever."""


ShiftLength = Annotated[Duration, between(timedelta(minutes=1), timedelta(days=7))]
"""A run of its DAG: with none at all, one would follow the other in a hot loop."""


class StreamRetention(BaseModel):
    """How long the traces of a stream are kept, from when they were written. Epochs are kept for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    state: Kept = timedelta(days=30)
    """State of earlier lives of the checkpoint; the present one's is the driver's own business."""
    status: Kept = timedelta(days=90)
    """What earlier drivers last said of themselves."""
    rejected: Kept = timedelta(days=90)
    """Records that the stream could not use."""
    orders: Kept = timedelta(days=400)
    """Who started, stopped or changed it, when and why."""


class DatasetRetention(BaseModel):
    """How long a dataset's objects are kept. See `docs/retention.md`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    published: Kept = None
    """Hours, from their end; then only an empty object is left of them."""
    expired: Kept = timedelta(days=30)
    """That empty object, which absorbs what lands late; after it the hour is behind the horizon."""
    landing: Kept = timedelta(days=1)
    """What landed for hours that have expired; nothing else in landing ever goes by age."""
    quarantine: Kept = timedelta(days=90)
    rejected: Kept = timedelta(days=90)
    """Landing objects that a fold has set aside."""
    quality: Kept = timedelta(days=400)
    """What audits found, summaries of days, Data Docs: long enough to compare with a year ago."""
    approvals: Kept = timedelta(days=400)
    """What people let pass; the footer of the published hour says so as well."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("a name is lower-case letters, digits and underscores, and starts with a letter")
        return value


class TopicSpec(_Entry):
    """A Kafka topic. Its number of partitions is fixed: another number means resetting its readers."""

    partitions: int = Field(default=1, ge=1)
    retention: Duration = timedelta(days=7)
    max_message_bytes: int = Field(default=4_000_000, ge=1_000)


class StreamSpec(_Entry, WithRules):
    """A long-lived Spark app: where it reads, what it writes, and how it is run."""

    app: str
    """The module in spark_apps/."""
    description: str = ""
    source: SourceWord
    sinks: tuple[SinkWord, ...] = (Sink("facts"),)
    dataset: str | None = None
    """Where the facts go; there must be one when `facts` is among the sinks, and none otherwise."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What only this app knows; checked by the app itself."""
    trigger: Duration = timedelta(seconds=5)
    max_messages_per_batch: int = Field(default=500, ge=1)
    buckets: int = Field(default=1, ge=1, le=1024)
    """Into how many parts the state is divided; fixed for the life of a checkpoint."""
    late_by: Duration = timedelta(hours=2)
    idle_after: Duration = timedelta(minutes=15)
    driver_memory: str = Field(default="512m", pattern=r"^\d+[mg]$")
    master: str | None = None
    """Where its tasks run, such as `local[2]`; None: where the deployment says (`MILLRACE_SPARK_MASTER`)."""
    shift: ShiftLength = timedelta(hours=1)
    heartbeat: Duration = timedelta(seconds=5)
    stop_within: Duration = timedelta(seconds=60)
    preflight_within: Annotated[Duration, between(timedelta(seconds=10), timedelta(hours=6))] = timedelta(
        minutes=10
    )
    """To try this version on the state when it is redeployed: what takes longer is refused. See `docs/redeploy.md`."""
    spark_conf: dict[str, str] = Field(default_factory=dict)
    on_poison: Literal["stop", "put_aside"] = "stop"
    """What becomes of a micro-batch that ends its driver each time: the stream stops and names it, or the records on
    which its transform fails are put aside in `rejected/` and the stream goes on. See `docs/poisoned-batches.md`."""
    driver: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$", max_length=20)
    """Streams with the same name here share one process and one JVM: less memory, and less isolation. See
    `docs/shared-drivers.md`. None: a driver of its own."""
    # Not part of what a driver is started with: a change of these is no reason to restart it.
    autostart: bool = Field(default=True, exclude=True)
    """Whether its DAG begins by itself. Otherwise a person starts it: from the UI, or `make up STREAMS=...`."""
    feed: str | None = Field(default=None, exclude=True)
    """The feed that the embedded stack runs for it, beside the one that FEED names."""
    retention: StreamRetention = Field(default_factory=StreamRetention, exclude=True)

    @model_validator(mode="after")
    def _agree(self) -> StreamSpec:
        if self.writes("facts") != (self.dataset is not None):
            raise ValueError(
                "dataset and the sink `facts` go together: name the dataset of datasets.yaml that the facts are of, "
                "or leave both out"
            )
        if self.buckets > 1 and (
            self.source.kind != "kafka" or {"kafka", "live"} & {s.kind for s in self.sinks}
        ):
            raise ValueError("buckets must be 1 unless the source is kafka and facts are all that is written")
        if self.driver is not None and self.source.kind != "kafka":
            raise ValueError(
                f"driver: only a stream that reads kafka may share one; {self.source} cannot wait, or be read again, "
                "when another stream takes the driver down"
            )
        return self

    @property
    def topic(self) -> str:
        """The Kafka topic that is read; for another source, what it is called in logs and rejected records."""
        return self.source.address if self.source.kind == "kafka" else str(self.source)

    @property
    def lineage(self) -> str:
        """Under which name its generations are counted: the dataset's, or its own when it writes no facts."""
        return self.dataset or self.name

    def writes(self, kind: SinkKind) -> bool:
        return any(sink.kind == kind for sink in self.sinks)


class FeedSpec(_Entry, WithRules):
    """A program that brings records to a topic; `options` are checked by the feed's own kind."""

    kind: str
    topic: str
    description: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    shift: ShiftLength = timedelta(hours=1)
    heartbeat: Duration = timedelta(seconds=5)
    stop_within: Duration = timedelta(seconds=30)
    """It delivers what it has; with Kafka away it gives up after some 20 s."""
    # How it is supervised, as of streams: see docs/feeds.md.


class DatasetSpec(_Entry):
    """An hourly table: its key, its columns, who writes it, how long it is kept."""

    prefix: str
    description: str = ""
    keys: list[str] = Field(min_length=1)
    columns: dict[str, Literal["string", "int64", "int32", "double", "timestamp", "boolean", "decimal"]]
    """Name to type, in order; keys included. Timestamps are microseconds UTC, decimals (38, 6)."""
    defaults: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Columns that were added later, each with what the rows of older objects have in it."""
    writers: list[str] = Field(min_length=1)
    """The streams whose seals make an hour final."""
    retention: DatasetRetention = Field(default_factory=DatasetRetention)

    @field_validator("prefix")
    @classmethod
    def _no_slashes(cls, value: str) -> str:
        if value != value.strip("/") or not value:
            raise ValueError("a prefix is a path without leading or trailing slash")
        return value


def _those(what: str, chosen: str, known: Collection[str]) -> list[str]:
    """The names in a setting, all of them known. Raises CatalogError naming those there are."""
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    if chosen.strip() and not names:
        raise CatalogError(
            f"MILLRACE_{what.upper()}S={chosen} names no {what}; there are: {', '.join(known)}"
        )
    if unknown := [name for name in names if name not in known]:
        raise CatalogError(
            f"MILLRACE_{what.upper()}S={chosen}: there is no {what} {unknown[0]!r} in {what}s.yaml; there are: "
            f"{', '.join(known)}"
        )
    return names


class Catalog(BaseModel):
    """Everything the catalog's files say, checked for agreement between them."""

    model_config = ConfigDict(frozen=True)
    topics: dict[str, TopicSpec]
    streams: dict[str, StreamSpec]
    feeds: dict[str, FeedSpec]
    datasets: dict[str, DatasetSpec]

    def started(self, chosen: str) -> list[str]:
        """The streams that begin by themselves: the chosen ones (names, separated by commas), or those with
        `autostart`. Raises CatalogError naming those there are.
        """
        if not chosen.strip():
            return [name for name, spec in self.streams.items() if spec.autostart]
        return _those("stream", chosen, self.streams)

    def begun_feeds(self, chosen: str) -> list[str]:
        """The feeds that begin by themselves: the chosen ones (names, separated by commas). Raises CatalogError."""
        return _those("feed", chosen, self.feeds)

    def dataset_of(self, stream: str) -> DatasetSpec:
        """The dataset that a stream writes. Raises CatalogError when there is no such stream, or it writes none."""
        spec = self.streams.get(stream)
        if spec is None:
            raise CatalogError(
                f"catalog/streams.yaml has no stream {stream!r}; there are: {', '.join(sorted(self.streams))}"
            )
        if spec.dataset is None:
            raise CatalogError(f"catalog/streams.yaml: {stream} writes no facts, so it has no dataset")
        return self.datasets[spec.dataset]


Entry = TypeVar("Entry", bound=_Entry)


def load_catalog(directory: Path) -> Catalog:
    """Read and check the four files. Raises CatalogError; touches nothing but those files."""
    catalog = Catalog(
        topics=_read(directory / "topics.yaml", TopicSpec),
        streams=_read(directory / "streams.yaml", StreamSpec),
        feeds=_read(directory / "feeds.yaml", FeedSpec),
        datasets=_read(directory / "datasets.yaml", DatasetSpec),
    )
    for stream in catalog.streams.values():
        where = f"{directory / 'streams.yaml'}: {stream.name}"
        if stream.source.kind == "kafka":
            _known(stream.topic, catalog.topics, f"{where}.source", "topics.yaml")
        for sink in stream.sinks:
            if sink.kind == "kafka":
                _known(sink.address, catalog.topics, f"{where}.sinks", "topics.yaml")
        if stream.feed is not None:
            _known(stream.feed, catalog.feeds, f"{where}.feed", "feeds.yaml")
        if stream.dataset is not None:
            _known(stream.dataset, catalog.datasets, f"{where}.dataset", "datasets.yaml")
    try:
        shared_drivers(catalog.streams.values())
    except Disagreement as error:
        raise CatalogError(f"{directory / 'streams.yaml'}: {error}") from None
    for feed in catalog.feeds.values():
        _known(feed.topic, catalog.topics, f"{directory / 'feeds.yaml'}: {feed.name}.topic", "topics.yaml")
    for dataset in catalog.datasets.values():
        where = f"{directory / 'datasets.yaml'}: {dataset.name}"
        for writer in dataset.writers:
            _known(writer, catalog.streams, f"{where}.writers", "streams.yaml")
        for key in dataset.keys:
            _known(key, dataset.columns, f"{where}.keys", f"{dataset.name}.columns")
        for column, value in dataset.defaults.items():
            _known(column, dataset.columns, f"{where}.defaults", f"{dataset.name}.columns")
            _check_default(dataset, column, value, f"{where}.defaults.{column}")
    return catalog


def _content(path: Path) -> Any:
    try:
        return strict_yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogError(f"{path} is missing; the project's own catalog/ has an example") from None
    except strict_yaml.YAMLError as error:
        raise CatalogError(f"{path} is not valid YAML: {error}") from None
    except (OSError, ValueError) as error:  # not UTF-8, a date of a thirteenth month
        raise CatalogError(f"{path} cannot be read: {error}") from None


def _read(path: Path, model: type[Entry]) -> dict[str, Entry]:
    content = _content(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CatalogError(f"{path} must be a mapping of names to entries, not a {type(content).__name__}")
    entries: dict[str, Entry] = {}
    for name, fields in content.items():
        if not isinstance(fields, dict):
            raise CatalogError(f"{path}: {name} must be a mapping of keys to values")
        if "name" in fields:
            raise CatalogError(f"{path}: {name}.name: remove it, the name is {name}")
        try:
            entries[str(name)] = model.model_validate({"name": str(name), **fields})
        except ValidationError as error:
            raise CatalogError(
                "; ".join(explained(str(path), str(name), problem) for problem in error.errors())
            ) from None
    return entries


def explained(path: str, name: str, problem: Any) -> str:
    """One problem that pydantic found, in words: the file, the key, what would be right."""
    key = ".".join([name, *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        return f"{path}: {key} is not a key that is known here; remove it or mend its spelling"
    if problem["type"] == "missing":
        return f"{path}: {key} is missing"
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')} (found {problem['input']!r})"


def _check_default(dataset: DatasetSpec, column: str, value: object, where: str) -> None:
    fitting: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "int64": (int,),
        "int32": (int,),
        "double": (int, float),
        "boolean": (bool,),
    }
    kind = dataset.columns[column]
    if column in dataset.keys or column == "window_start":
        raise CatalogError(f"{where}: a column that says which row it is cannot be added later")
    if kind not in fitting:
        raise CatalogError(f"{where}: a {kind} can have no default; add a column of another type")
    if not isinstance(value, fitting[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise CatalogError(f"{where}: {value!r} is not a value of type {kind}")


def _known(name: str, among: dict[str, Any], where: str, there: str) -> None:
    if name not in among:
        raise CatalogError(
            f"{where}: {name!r} is not in {there}; there are: {', '.join(sorted(among)) or 'none'}"
        )
