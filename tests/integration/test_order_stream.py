"""Order lines -> Kafka -> driver -> metrics and facts -> compaction, against a plain recount of the same lines."""

from __future__ import annotations

import json
import random
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from millrace.control import exit_codes
from millrace.control.live import read_live
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from tests.conftest import wait_until
from tests.integration.streams import (
    StreamUnderTest,
    compact,
    kill,
    make_stream,
    published_rows,
    rejected_rows,
)
from tests.oracles.orders import Book, book_of

pytestmark = pytest.mark.stack
START = datetime(2026, 3, 1, 9, 20, tzinfo=UTC)
MALFORMED = [
    b"",
    b"\xff\xfe",
    b"2026-03-01 09:30:00,7,1,A,5",
    b"2026-03-01 09:30:00,7,1,A,5,1.00,X",
    b"2026-03-01 09:30:00,7,1,A,five,1.00,B",
    b"01.03.2026 09:30:00,7,1,A,5,1.00,B",
    b"2099-03-01 09:30:00,7,1,A,5,1.00,B",
]


def market(seed: int, count: int) -> list[bytes]:
    """Orders some seconds apart over several hours, a few of them late, a few twice, with garbage among them."""
    dice = random.Random(seed)
    at = int(START.timestamp())
    lines = []
    for number in range(count):
        at += dice.randint(0, 60)
        when = datetime.fromtimestamp(at - dice.choice([0] * 30 + [600, 3000, 5000]), UTC)
        quantity, price = dice.randint(1, 1000), dice.choice(["51.00", "0.10", "7", "99.999999"])
        lines.append(
            f"{when:%Y-%m-%d %H:%M:%S},{number},{dice.randint(1, 100)},S{dice.randint(1, 80)},"
            f"{quantity},{price},{dice.choice('BS')}".encode()
        )
    for _ in range(count // 20):
        again = dice.randrange(len(lines) - 1)
        lines.insert(dice.randint(again + 1, min(len(lines), again + 200)), lines[again])
    for line in MALFORMED:
        lines.insert(dice.randrange(len(lines)), line)
    return lines


@pytest.fixture
def stream(tmp_path: Path, store_settings: Settings, kafka: str) -> StreamUnderTest:
    return make_stream(tmp_path, store_settings, kafka, "order_metrics", max_messages_per_batch=60)


def example() -> Any:
    """The reader of docs/metrics.md."""
    text = (PROJECT_ROOT / "docs" / "metrics.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["each_once"]


def all_messages(kafka: str, topic: str) -> tuple[int, list[tuple[str, int, int, str]]]:
    """The end of the topic, and every message in it, repeats included; a repeat says the same."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "all", "enable.auto.commit": False})
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[str, int, int, str]] = []
    while len(found) < end:
        (message,) = consumer.consume(1, 30)
        headers = {name: value.decode() for name, value in message.headers()}
        assert headers["stream"] == "order_metrics"
        assert int(headers["driver_epoch"]) >= 1
        key = message.key().decode()
        found.append((key, int(headers["generation"]), int(headers["batch"]), message.value().decode()))
    consumer.close()
    assert len(set(found)) == len({one[:3] for one in found}), "a repeat says the same"
    return end, found


def test_killed_three_times_with_repeats_and_garbage_it_is_exact(stream: StreamUnderTest) -> None:
    dice = random.Random(3)
    lines = market(1, 600)
    arrived = int(time.time() * 1000)
    quarter = len(lines) // 4
    for life, victim in enumerate(dice.sample(["all of it", "its Python", "its JVM"], 3)):
        stream.send((None, line) for line in lines[life * quarter : (life + 1) * quarter])
        with stream.driver() as process:
            stream.wait_for_offset(life * quarter + 1, process)
            time.sleep(dice.random())
            kill(process, victim)
    stream.send((None, line) for line in lines[3 * quarter :])
    stream.send([(b"end_of_input", b"")])
    book = book_of([(line, arrived) for line in lines], late_by=3600)
    with stream.driver() as process:
        stream.wait_for_offset(len(lines) + 1, process)
        compact(stream)
        wait_until(
            lambda: (
                (view := read_live(open_store(stream.settings), stream.name)) is not None
                and view.content["as_of"]
                == f"{datetime.fromtimestamp(book.newest or 0, UTC):%Y-%m-%dT%H:%M:%SZ}"
            ),
            30,
            "the live view of the last batch",
        )
        process.terminate()
        assert process.wait(120) == exit_codes.STOPPED
    rows, states = published_rows(stream)
    assert {row_key(row): tuple(row[name] for name in SUMS) for row in rows} == book.rows
    assert states == {"final"}
    assert len(rejected_rows(stream)) == len(book.rejected)
    assert {row["value"] for row in rejected_rows(stream)} >= set(MALFORMED)
    (topic,) = (sink.address for sink in stream.catalog.streams[stream.name].sinks if sink.kind == "kafka")
    end, said = all_messages(stream.kafka, topic)
    once = list(example()(stream.kafka, topic, end))
    assert sorted(once) == sorted(set(said))
    metrics_agree([(key, batch, json.loads(value)) for key, _, batch, value in once], book)
    view = read_live(open_store(stream.settings), stream.name)
    assert view is not None
    assert view.driver_epoch == 4


SUMS = ["orders", "quantity", "amount", "buys", "sells"]


def row_key(row: dict[str, Any]) -> tuple[str, int]:
    return row["symbol"], int(row["window_start"].timestamp()) // 3600


def metrics_agree(metrics: list[tuple[str, int, Any]], book: Book) -> None:
    """Sums over all batches, and the last word of each top five."""
    total = {key: sum(said["value"] for name, _, said in metrics if name == key) for key in ("BUYS", "SELLS")}
    assert total == {"BUYS": book.buys, "SELLS": book.sells}
    last = {key: said["value"] for key, _, said in sorted(metrics, key=lambda one: one[1])}
    clients = [(one["client_id"], Decimal(one["amount"])) for one in last["TOP5CLIENTS"]]
    assert clients == book.top_clients()
    assert [(one["symbol"], one["quantity"]) for one in last["TOP5STOCKS"]] == book.top_stocks()
