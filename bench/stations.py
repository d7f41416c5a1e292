"""How fast the station stream is, beside Spark's own window aggregation over the same topic in one run.

    python -m bench.stations [--observations 6000000] [--only polls|single|latency]

Three measurements on a real Kafka and a real S3 server of its own, 2 systems of 501 stations:
whole polls (501 observations a message), one observation a message, and the time of a micro-batch of one
poll of 2,735 stations. The peer reads and parses the same messages with from_json and keeps a window
count per station and hour in RocksDB: less work than ours, no movements, no lateness, nothing exact.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Producer

from bench.embedded import Embedded, embedded
from bench.measured import FOR_THROUGHPUT, fill, newest, rate_of
from millrace.settings import PROJECT_ROOT
from millrace.store import S3Store, open_store
from spark_apps.runtime.carried_state import Manifest

STATIONS = 501
START = 1_700_000_000 // 3600 * 3600
EVERY = 60


def main() -> None:
    """Run the measurements and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--observations", type=int, default=6_000_000)
    parser.add_argument("--buckets", type=int, default=1, help="tasks side by side (the catalog's `buckets`)")
    parser.add_argument("--only", choices=["polls", "single", "latency"])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory,
        embedded(Path(directory)) as stack,
    ):
        for name in ("polls", "single"):
            if options.only in (None, name):
                observations = options.observations if name == "polls" else options.observations // 3
                _throughput(stack, name, observations, options.buckets)
        if options.only in (None, "latency"):
            _latency(stack)


def _throughput(stack: Embedded, name: str, observations: int, buckets: int) -> None:
    topic = f"bench_{name}"
    messages = fill(stack, topic, _polls(observations) if name == "polls" else _singles(observations))
    per_batch = 500 if name == "polls" else 200_000
    environment = stack.environment(
        topic,
        max_messages_per_batch=per_batch,
        buckets=buckets,
        trigger="0ms",
        heartbeat="5s",
        sinks=["facts"],
        **FOR_THROUGHPUT,
    )
    ours = rate_of(stack, topic, environment, messages)
    peer = _run_peer(stack, topic, per_batch, observations)
    what = "whole polls" if name == "polls" else "one observation a message"
    print(
        f"{what}: {ours:,.0f} observations/s; Spark window count {peer:,.0f}/s; ratio {ours / peer:.2f}",
        flush=True,
    )


def _run_peer(stack: Embedded, topic: str, per_batch: int, observations: int) -> float:
    command = [sys.executable, "-m", "bench.stations_peer", topic, str(per_batch), str(observations)]
    done = subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env=stack.environment(topic),
        stdout=subprocess.PIPE,
        stderr=stack.log,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _latency(stack: Embedded) -> None:
    topic = "bench_latency"
    fill(stack, topic, iter([_poll("big", START + n * 30, 2735, n) for n in range(360)]))
    environment = stack.environment(topic, trigger="0ms", heartbeat="5s")
    store = open_store(stack.settings)
    producer = Producer({"bootstrap.servers": stack.kafka, "linger.ms": 0})
    times = []
    with stack.driver(environment):
        manifest = _wait(store, stack, topic, 360)
        for number in range(360, 420):
            started = time.monotonic()
            producer.produce(topic, key=b"big", value=_poll("big", START + number * 30, 2735, number)[1])
            producer.flush()
            manifest = _wait(store, stack, topic, number + 1, manifest)
            times.append(time.monotonic() - started)
            time.sleep(0.2)
    times = sorted(times[5:])
    print(
        f"one poll of 2,735 stations, from acknowledged message to committed batch: "
        f"median {times[len(times) // 2]:.3f} s, p90 {times[int(len(times) * 0.9)]:.3f} s, worst {times[-1]:.3f} s",
        flush=True,
    )


def _wait(
    store: S3Store, stack: Embedded, topic: str, offset: int, known: Manifest | None = None
) -> Manifest:
    """Until the state holds the topic up to an offset."""
    while known is None or sum(known.offsets.values()) < offset:
        known = newest(store, stack.stream_name(topic), known) or known
        time.sleep(0.01)
    return known


def _poll(system: str, observed_at: int, stations: int, number: int) -> tuple[bytes, bytes]:
    rows = ",".join(
        f'{{"station_id":"{system}-{station}","bikes":{(station * 7 + number * (station % 5)) % 25},"docks":9}}'
        for station in range(stations)
    )
    return system.encode(), _envelope(system, observed_at, rows)


def _polls(observations: int) -> Iterator[tuple[bytes, bytes]]:
    for number in range(observations // STATIONS // 2):
        for system in ("north", "south"):
            yield _poll(system, START + number * EVERY, STATIONS, number)


def _singles(observations: int) -> Iterator[tuple[bytes, bytes]]:
    for number in range(observations // STATIONS // 2):
        for system in ("north", "south"):
            for station in range(STATIONS):
                bikes = (station * 7 + number * (station % 5)) % 25
                row = f'{{"station_id":"{system}-{station}","bikes":{bikes},"docks":9}}'
                yield system.encode(), _envelope(system, START + number * EVERY, row)


def _envelope(system: str, observed_at: int, stations: str) -> bytes:
    head = json.dumps({"schema": 1, "kind": "poll", "system_id": system, "observed_at": observed_at})
    return f'{head[:-1]}, "stations": [{stations}]}}'.encode()


if __name__ == "__main__":
    main()
