"""How fast order_metrics is, beside Spark only reading and splitting the same lines in one run.

    python -m bench.orders [--lines 2000000] [--rate 100]

On a real Kafka and a real S3 server of its own. Ours is the whole driver: parsed, judged, without repeats, counted
by client, symbol and hour, facts and state written, batches committed. The peer casts each line to text, splits it
at the commas into seven columns, and throws them away: once with Kafka's consumer as Spark has it, once as we tune it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench.embedded import Embedded, embedded
from bench.measured import FOR_THROUGHPUT, fill, rate_of
from bench.orders_peer import TUNED
from millrace.feeds.orders.book import BOOK_BEGINS
from millrace.feeds.orders.line import line_time, order_line
from millrace.feeds.orders.market import orders
from millrace.settings import PROJECT_ROOT

PER_BATCH = 200_000


def main() -> None:
    """Run both and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=100.0, help="orders per second of event time")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory,
        embedded(Path(directory)) as stack,
    ):
        topic = "bench_orders"
        messages = fill(stack, topic, _lines(asked.lines, asked.rate))
        environment = stack.environment(
            topic,
            "order_metrics",
            max_messages_per_batch=PER_BATCH,
            trigger="0ms",
            heartbeat="5s",
            **FOR_THROUGHPUT,
        )
        ours = rate_of(stack, topic, environment, messages)
        print(f"orders: {ours:,.0f} lines/s", flush=True)
        for options, words in (
            ((), "Spark read and split"),
            ((TUNED,), "the same with our consumer's options"),
        ):
            peer = _peer(stack, topic, environment, messages, *options)
            print(f"{words}: {peer:,.0f}/s; ratio {ours / peer:.2f}", flush=True)


def _lines(count: int, rate: float) -> Iterator[tuple[None, bytes]]:
    for number, order in enumerate(islice(orders(1), count)):
        yield None, order_line(order, line_time(BOOK_BEGINS + number / rate))


def _peer(stack: Embedded, topic: str, environment: dict[str, str], messages: int, *options: str) -> float:
    command = [sys.executable, "-m", "bench.orders_peer", topic, str(PER_BATCH), str(messages), *options]
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=stack.log, check=True
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
