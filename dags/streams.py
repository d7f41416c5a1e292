"""One DAG per stream of the catalog: deployed and supervised for as long as the DAG is not paused."""

from __future__ import annotations

from airflow.sdk import DAG
from millrace_airflow.shifts import shifts_of

from millrace import settings
from millrace.catalog import StreamSpec, load_catalog

DOCS = """
### stream `{name}`

{description}

Reads `{source}`, writes to {sinks} (app `spark_apps/{app}.py`).{source_note}

**What this DAG does.** The stream is a Spark driver of its own, apart from Airflow. A run is a *shift* of
about {shift}: it deploys the stream if it never was, then watches its heartbeat and progress from the
triggerer, starts or restarts the driver when it must, and ends with a report (log and XCom of `supervise`).
The next shift begins at once, so the grid is the stream's health history.

**What it does not do.** Pausing this DAG, clearing or marking a task, or stopping Airflow never stops the
stream; it only goes unwatched (the stream host still restarts a crashed driver a few times). The stream does
what `control/{name}/desired.json` says: running or stopped; the DAG `stream_control` and `millrace stream` change it.

**When a shift is red.** The stream was unhealthy for more than a tenth of it; the last line of the log of
`supervise` says for how long and why. Or its circuit is open: starts fail again and again, and are tried rarely.
Nothing needs to be cleared: the next shift is already at it. What each state means: `docs/supervision.md`.

| the log says | look at | usual cause |
|---|---|---|
| `failed`, or attempts that go up | what the driver printed: `{log}` | the exception is at the end of it |
| `bad configuration` | the same file, its last line | the catalog, a missing topic, a checkpoint of other code |
| `poisoned` | the same file | one micro-batch ends the driver each time: `docs/poisoned-batches.md` |
| `silent` | `millrace status`, free memory and disk | the machine is overloaded, or the store is away |
| `stalled` | Kafka and the store: `millrace status` | the query hangs: the lag grows, the batch number does not |
| `lagging` | `millrace stream status {name}` | more comes in than the driver gets through |
| `the circuit is open` | the reason, then `millrace stream start {name}` | what made the last starts fail |
| `the stream host does not answer` | `millrace logs NAME=streamhost` | it was stopped: `millrace up` |
| `supervision cannot work` | the store: `millrace logs NAME=s3` | the store is away; the driver goes on |

**Past incidents.** None yet.
"""


NOT_REPLAYABLE = """

**This source cannot be read again.** What the server at `{address}` sends while no driver is connected is lost, and so
is what was on its way when a driver ends; what has been counted is kept. `millrace feed lines {address}` brings the
same lines to Kafka, which can replay them: then set `source: kafka://lines` in `catalog/streams.yaml`. What waits in
this source is not known, so a stalled stream cannot be told from an idle one. When the server closes the
connection, the driver ends with a word about it and is started again, until somebody answers."""


def _source_note(spec: StreamSpec) -> str:
    """What a person must know of a source that is not Kafka."""
    if not spec.source.is_replayable:
        return NOT_REPLAYABLE.format(address=spec.source.address)
    if spec.source.kind != "kafka":
        return " What waits in this source is not known, so a stalled stream cannot be told from an idle one."
    return ""


def _sinks(spec: StreamSpec) -> str:
    """The sinks in words."""
    words = {
        "facts": f"the facts of the dataset `{spec.dataset}`",
        "live": f"`live/{spec.name}.json`",
        "console": "the driver's log",
    }
    return ", ".join(words.get(sink.kind, f"`{sink}`") for sink in spec.sinks)


def stream_dag(spec: StreamSpec, log: str, *, begins: bool) -> DAG:
    return shifts_of(
        spec,
        description=spec.description or f"Keeps the stream {spec.name} running",
        doc_md=DOCS.format(
            name=spec.name,
            description=spec.description,
            source=spec.source,
            source_note=_source_note(spec),
            sinks=_sinks(spec),
            app=spec.app,
            shift=f"{spec.shift.total_seconds() / 60:.0f} min",
            log=log,
        ),
        begins=begins,
        priority_weight=10,
    )


def stream_dags() -> list[DAG]:
    from millrace.control.streamhost import log_file

    here = settings.load()
    catalog = load_catalog(here.catalog_dir)
    begin = catalog.started(here.streams)
    return [
        stream_dag(spec, str(log_file(here.home, spec.name)), begins=spec.name in begin)
        for spec in catalog.streams.values()
    ]


for stream in stream_dags():
    globals()[stream.dag_id] = stream
