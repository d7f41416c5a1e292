"""A form in the UI: start, stop, restart, redeploy or reset a stream or a feed, with a reason that is kept."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, get_current_context, task
from millrace_airflow import control_tasks, policy

from millrace import settings
from millrace.control.orders import ACTIONS
from millrace.control.supervised import is_feed
from millrace.feeds.choice import supervised_here

DOCS = """
### stream_control

Changes what a stream, or a feed (`feed-<name>`), should be doing. *Trigger* it: choose it and the action, and give
the reason.

| action | what happens |
|---|---|
| `start` | the stream runs, from where it stopped; deployed from the catalog if it never was |
| `stop` | its driver finishes the micro-batch at hand, commits and ends; it stays stopped until it is started |
| `restart` | its driver ends like that, and another one goes on with the same configuration |
| `redeploy` | as `restart`, with what the catalog says now and the code that is there, if that can go on |
| `reset` | as `redeploy`, without the old state: the open hours are counted anew from Kafka; not for a feed |

A feed has no micro-batches: it delivers what it has to Kafka and ends, and the next one goes on after that.

**How it works.** `order` writes `control/<stream>/desired.json` and sees it through: its log says what was done, and
what to look at. It works while the stream's own DAG is paused, too. Who, when and why are kept: `millrace stream
history NAME`. The same from a shell: `millrace stream start|stop|restart|redeploy|reset NAME --why ...`.

Nothing else in Airflow stops a stream: not pausing `stream__<name>`, and not clearing or marking its task. Clearing
or killing `order` takes nothing back: order the opposite.

**When it is red.** The last line of the log of `order` says why. Clearing it orders nothing again, since the reason
may be long gone: trigger the DAG anew.

| the log says | what it means |
|---|---|
| `was refused, and nothing was changed` | the words after it say why, and what to do instead |
| `was ordered ..., but ... is not there yet` | it stays ordered; look at `stream__<name>`, which goes on with it |
| `does not run` | the driver ended by itself; its reason follows, the rest is in what it printed |
| `was not reset and goes on as it was` | Kafka no longer holds what it needs, or an old driver is still alive |
| `the stream host does not answer` | `millrace status`, `millrace up` |

**Past incidents.** None yet.
"""

with DAG(
    dag_id="stream_control",
    description="Start, stop, restart, redeploy or reset a stream or a feed, with a reason",
    doc_md=DOCS,
    schedule=None,
    start_date=policy.START,
    catchup=False,
    max_active_runs=1,
    tags={policy.STREAM},
    # No retries: a repeat would order the same again, perhaps long after somebody has ordered something else.
    default_args=policy.default_args(retries=0),
    params={
        "stream": Param(
            type="string",
            enum=sorted(supervised_here(settings.load()), key=lambda name: (is_feed(name), name)),
            title="Stream or feed",
            description="Of the catalog; feeds are called feed-<name>.",
        ),
        "action": Param(
            type="string",
            enum=list(ACTIONS),
            title="Action",
            description="What each does is in the docs of this DAG.",
        ),
        "why": Param(
            type="string",
            minLength=3,
            pattern=r"\S",
            title="Reason",
            description="Kept with your name and the time.",
        ),
    },
) as dag:

    @task(execution_timeout=timedelta(minutes=15))
    def order() -> dict[str, str]:
        """Write the order, and see it through."""
        return control_tasks.carry_out_order(get_current_context())

    order()
