"""One DAG per feed of the catalog: supervised as the streams are."""

from __future__ import annotations

from airflow.sdk import DAG
from millrace_airflow.shifts import shifts_of

from millrace import settings
from millrace.catalog import load_catalog
from millrace.control.supervised import SupervisedFeed

DOCS = """
### feed `{feed}`

Brings records to the Kafka topic `{topic}` (kind `{kind}` of `catalog/feeds.yaml`).

**What this DAG does.** The feed is a process on the stream host, apart from Airflow. A run is a *shift* of about
{shift}: it watches what the feed sends and what its source says, from the triggerer; starts or restarts it when it
must; and ends with a report (log and XCom of `supervise`). The next shift begins at once.

**What it does not do.** Pausing this DAG, clearing or marking a task, or stopping Airflow never stops the feed; it
only goes unwatched (the stream host still restarts a crashed one a few times). The feed does what
`control/{name}/desired.json` says: running or stopped; the DAG `stream_control` and `millrace stream start|stop|restart
{name}` change it. `millrace up` gives the first order for the feeds that FEED and the chosen streams name, and lets
their DAGs run; elsewhere the DAGs of the feeds in `MILLRACE_FEEDS` begin by themselves. The others are paused.

**When a shift is red.** The feed was unhealthy for more than a tenth of it; the last line of the log of `supervise`
says for how long and why. Nothing needs to be cleared: the next shift is already at it.

| the log says | look at | usual cause |
|---|---|---|
| `stalled: its source has not answered` | the source, or the network | its server is away; the feed tries again |
| `stalled: its source answers, but cannot be read` | the topic `dead_letters` | the source has changed its format |
| `stalled: ... though it should every` | what it printed: `{log}` | it hangs |
| `messages for Kafka wait` | `millrace status` | Kafka is away; nothing is lost, they wait in the feed |
| `failed`, or attempts that go up | what it printed | the exception is at the end of it |
| `bad configuration` | the same file, its last line | `catalog/feeds.yaml`, a key that is not in the environment |
| `the stream host does not answer` | `millrace logs NAME=streamhost` | it was stopped: `millrace up` |
| `supervision cannot work` | the store: `millrace logs NAME=s3` | the store is away; the feed goes on |

**Past incidents.** None yet.
"""


def feed_dag(spec: SupervisedFeed, log: str, *, begins: bool) -> DAG:
    return shifts_of(
        spec,
        description=f"Keeps the feed {spec.feed} running ({spec.description})",
        doc_md=DOCS.format(
            name=spec.name,
            feed=spec.feed,
            kind=spec.kind,
            topic=spec.topic,
            shift=f"{spec.shift.total_seconds() / 60:.0f} min",
            log=log,
        ),
        begins=begins,
    )


def feed_dags() -> list[DAG]:
    from millrace.control.streamhost import log_file
    from millrace.feeds.choice import supervised_here

    here = settings.load()
    catalog = load_catalog(here.catalog_dir)
    begin = catalog.begun_feeds(here.feeds)
    # `millrace up` starts the feeds and then lets the DAGs run of those that are in use; but one that FEED names by
    # its addresses is only there when it is in use, and may be seen here after `up` has ended.
    return [
        feed_dag(
            spec, str(log_file(here.home, name)), begins=spec.feed in begin or spec.feed not in catalog.feeds
        )
        for name, spec in supervised_here(here).items()
        if isinstance(spec, SupervisedFeed)
    ]


for feed in feed_dags():
    globals()[feed.dag_id] = feed
