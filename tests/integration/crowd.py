"""Posts of a small crowd for whole streams: two sources, late posts, repeats, contradictions, garbage, and the end."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime

from millrace.control import exit_codes
from millrace.control.live import read_live
from millrace.store import open_store
from spark_apps.runtime.clock import as_text
from tests.conftest import wait_until
from tests.integration.streams import StreamUnderTest, compact, kill
from tests.oracles.posts import Record
from tests.post_records import GARBAGE, TEXTS, end, post

START = int(datetime(2026, 3, 1, 9, 20, tzinfo=UTC).timestamp()) * 1000


def posts_of_a_crowd(seed: int, count: int) -> list[tuple[bytes | None, bytes | None]]:
    """Keys and values of posts some seconds apart over several hours, some a little late and some too late."""
    dice = random.Random(seed)
    made: list[tuple[bytes | None, bytes | None]] = []
    at = START
    for number in range(count):
        at += dice.randint(0, 30_000)
        when = at - dice.choice([0] * 20 + [5_000, 300_000, 900_000])
        tags = tuple(
            dice.choices(
                ["#a", "#b", "#c", "#d", "#서울", "#é"], weights=range(6, 0, -1), k=dice.randint(0, 4)
            )
        )
        source = dice.choice(["demo", "demo", "jetstream"])
        made.append(post(when, f"p{number}", f"user{dice.randint(1, 30)}", dice.choice(TEXTS), tags, source))
    for _ in range(count // 15):
        again = dice.randrange(len(made) - 1)
        key, value = made[again]
        other = json.loads(value or b"") | {"text": "something else"}
        repeat = dice.choice([value, value, json.dumps(other).encode()])
        made.insert(dice.randint(again + 1, min(len(made), again + 100)), (key, repeat))
    for garbage in GARBAGE:
        made.insert(dice.randrange(len(made)), garbage)
    return [*made, end(at, "demo"), end(at, "jetstream")]


def killed_twice(
    stream: StreamUnderTest, made: list[tuple[bytes | None, bytes | None]], dice: random.Random
) -> None:
    """Send two thirds of the records to a stream whose driver is killed after each."""
    third = len(made) // 3
    for life, victim in enumerate(dice.sample(["all of it", "its Python", "its JVM"], 2)):
        stream.send(made[life * third : (life + 1) * third])
        with stream.driver() as process:
            stream.wait_for_offset(life * third + 1, process)
            time.sleep(dice.random())
            kill(process, victim)
    stream.send(made[2 * third :])


def finished(stream: StreamUnderTest, records: int, newest_at: int | None) -> None:
    """Read to the end, publish, see the last live view (`newest_at` in epoch milliseconds), and stop in order."""
    store = open_store(stream.settings)
    with stream.driver() as process:
        stream.wait_for_offset(records, process)
        compact(stream)
        wait_until(
            lambda: (
                (view := read_live(store, stream.name)) is not None
                and view.content["as_of"] == as_text(newest_at)
            ),
            30,
            "the live view of the last batch",
        )
        process.terminate()
        assert process.wait(120) == exit_codes.STOPPED


def as_arrived(made: list[tuple[bytes | None, bytes | None]]) -> list[Record]:
    """The records as a recount takes them; none is from the future."""
    now = int(time.time() * 1000)
    return [(key, value, now) for key, value in made]
