"""Topics, the producer edge, the city and recordings against a real broker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from millrace.catalog import CatalogError, TopicSpec
from millrace.feeds import replay
from millrace.feeds.city import feed as city_feed
from millrace.feeds.city.polls import polls
from millrace.feeds.city.simulate import City
from millrace.feeds.city.truth import read_truth
from millrace.feeds.envelope import EndOfInput, Page, decode, poll_pages
from millrace.feeds.last_poll import last_poll_page
from millrace.feeds.model import Poll, Rejection, Station
from millrace.feeds.options import CityOptions, ReplayOptions
from millrace.feeds.send_poll import send_end_of_input, send_poll
from millrace.feeds.sink import DeliveryError, KafkaSink
from millrace.feeds.stop import Stop
from millrace.kafka_topics import KafkaUnavailable, TopicError, ensure_topics
from millrace.local.kafka import KafkaServer
from millrace.local.ports import free_ports
from tests.conftest import running, wait_until
from tests.integration.feed_bench import FeedBench, new_bench
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data

pytestmark = pytest.mark.stack

NOON = 1_795_262_400  # 2026-11-21 12:00 UTC, a Saturday


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> FeedBench:
    return new_bench(kafka, tmp_path)


def _settings_of(bootstrap: str, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    answer = admin.describe_configs([resource])[resource].result(10)
    return {name: entry.value for name, entry in answer.items()}


def test_topics_are_made_once_with_the_brokers_clock(bench: FeedBench) -> None:
    topic = TopicSpec(
        name=bench.topic, partitions=2, retention=timedelta(days=3), max_message_bytes=2_000_000
    )
    assert ensure_topics(bench.bootstrap, [topic]) == [bench.topic]
    assert ensure_topics(bench.bootstrap, {bench.topic: topic}) == []
    config = _settings_of(bench.bootstrap, bench.topic)
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["retention.ms"] == str(3 * 86_400_000)
    assert config["max.message.bytes"] == "2000000"
    assert config["compression.type"] == "producer"


def test_retention_may_change_but_not_partitions_nor_the_clock(bench: FeedBench) -> None:
    ensure_topics(bench.bootstrap, [TopicSpec(name=bench.topic)])
    ensure_topics(bench.bootstrap, [TopicSpec(name=bench.topic, retention=timedelta(days=1))])
    assert _settings_of(bench.bootstrap, bench.topic)["retention.ms"] == "86400000"
    with pytest.raises(TopicError, match=rf"{bench.topic}.* has 1 partition.*says 3.*partitions: 1"):
        ensure_topics(bench.bootstrap, [TopicSpec(name=bench.topic, partitions=3)])
    theirs = bench.topic + "_theirs"
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    admin.create_topics([NewTopic(theirs, 1, 1)])[theirs].result(10)
    with pytest.raises(TopicError, match=rf"{theirs}.*message\.timestamp\.type=CreateTime"):
        ensure_topics(bench.bootstrap, [TopicSpec(name=theirs)])


def test_no_broker_is_one_clear_error() -> None:
    (port,) = free_ports(1)
    with pytest.raises(KafkaUnavailable, match=rf"no Kafka broker answers at 127\.0\.0\.1:{port}"):
        ensure_topics(f"127.0.0.1:{port}", [TopicSpec(name="x")], timeout=0.5)


def test_a_poll_of_many_stations_is_several_messages_in_order(bench: FeedBench) -> None:
    poll = Poll("big", NOON, NOON, tuple(Station(str(n), n) for n in range(2735)))
    stored: list[int] = []
    with bench.context() as context:
        assert send_poll(context.sink, poll, stored.append) == 3
    assert stored == [3]
    pages = bench.pages()
    assert [(page.page, page.pages, len(page.poll.stations)) for page in pages] == [
        (0, 3, 1000),
        (1, 3, 1000),
        (2, 3, 735),
    ]


def test_a_message_that_kafka_refuses_ends_the_feed_with_an_error(bench: FeedBench) -> None:
    ensure_topics(bench.bootstrap, [TopicSpec(name=bench.topic, max_message_bytes=1000)])
    big = Poll("big", NOON, NOON, tuple(Station(os.urandom(40).hex(), n) for n in range(900)))
    with (
        pytest.raises(DeliveryError, match=rf"not everything of feed 'f' reached Kafka.*{bench.topic}"),
        KafkaSink(bench.bootstrap, feed="f", topic=bench.topic) as sink,
    ):
        send_poll(sink, big)


def test_an_unreadable_body_larger_than_the_topic_takes_is_kept_in_part(bench: FeedBench) -> None:
    body = os.urandom(6_000_000)
    with bench.context() as context:
        context.sink.dead_letter(Rejection("not_json", "noise", body), system_id=None, fetched_at=NOON)
    (letter,) = bench.dead_letters()
    assert letter["body_bytes"] == len(body)
    assert body.startswith(letter["body"])
    assert len(letter["body"]) > 2_500_000


def test_what_is_sent_while_no_broker_answers_arrives_in_order_when_one_does(
    jars: None, tmp_path: Path
) -> None:
    server = KafkaServer(tmp_path / "kafka", *free_ports(2))
    server.prepare()
    bench = new_bench(server.bootstrap, tmp_path)
    sink = KafkaSink(bench.bootstrap, feed=bench.feed, topic=bench.topic)
    for number in range(5):
        send_poll(sink, Poll("s", NOON + number, NOON, (Station("a", 1),)))
    with running(server.command(), tmp_path / "kafka.log"):
        ensure_topics(bench.bootstrap, bench.catalog.topics, timeout=60)
        sink.close(timeout=30)
        assert [page.poll.observed_at for page in bench.pages()] == [NOON + number for number in range(5)]
    gone = KafkaSink(bench.bootstrap, feed=bench.feed, topic=bench.topic)
    send_poll(gone, Poll("s", NOON, NOON, (Station("a", 1),)))
    with pytest.raises(DeliveryError, match=r"1 message\(s\) were not acknowledged within 0\.5 s"):
        gone.close(timeout=0.5)


HISTORY = 1800
OPTIONS = CityOptions(stations=20, history=timedelta(seconds=HISTORY), interval=timedelta(seconds=30))


def _once(bench: FeedBench, options: CityOptions, now: float) -> None:
    with bench.context(once=True, clock=lambda: now) as context:
        city_feed.run(context, options)


def test_the_city_writes_its_history_at_once_and_fills_its_gaps_as_if_never_down(bench: FeedBench) -> None:
    _once(bench, OPTIONS, NOON + 12)
    assert [page.poll.observed_at for page in bench.pages()] == list(range(NOON - HISTORY, NOON + 1, 30))
    _once(bench, OPTIONS, NOON + 12)
    _once(bench, OPTIONS, NOON + 3600)
    _once(bench, OPTIONS.model_copy(update={"interval": timedelta(seconds=600)}), NOON + 3 * 3600)
    expected = [
        *islice(polls(City(1, 20), "city", NOON - HISTORY, 30), 61 + 120),
        *islice(polls(City(1, 20), "city", NOON + 3600 + 600, 600), 12),
    ]
    assert [page.poll for page in bench.pages()] == expected


def test_the_city_goes_on_from_kafka_even_when_other_systems_came_after_it(bench: FeedBench) -> None:
    _once(bench, OPTIONS, NOON)
    with bench.context() as context:
        for number in range(600):
            send_poll(context.sink, Poll("other", NOON + number, NOON, (Station("a", 1),)))
        send_end_of_input(context.sink, "city", NOON)
    last = last_poll_page(bench.bootstrap, bench.topic, "city")
    assert last is not None
    assert last.poll.observed_at == NOON
    assert last_poll_page(bench.bootstrap, bench.topic, "nobody") is None
    _once(bench, OPTIONS, NOON + 60)
    assert [page.poll.observed_at for page in bench.pages("city")][-3:] == [NOON, NOON + 30, NOON + 60]


def test_a_poll_that_was_cut_off_between_its_pages_is_sent_again_whole(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.feeds.envelope.STATIONS_PER_PAGE", 10)
    first_page, _ = poll_pages(next(polls(City(1, 20), "city", NOON, 30)))
    ensure_topics(bench.bootstrap, bench.catalog.topics)
    producer = Producer({"bootstrap.servers": bench.bootstrap})
    producer.produce(bench.topic, first_page, b"city")
    assert producer.flush(10) == 0
    _once(bench, OPTIONS, NOON + 30)
    pages = [(page.poll.observed_at, page.page) for page in bench.pages()]
    assert pages == [(NOON, 0), (NOON, 0), (NOON, 1), (NOON + 30, 0), (NOON + 30, 1)]


def test_another_city_under_the_same_name_is_refused(bench: FeedBench) -> None:
    _once(bench, OPTIONS, NOON)
    with pytest.raises(CatalogError, match=r"polls of 'city' in Kafka.*another city.*system_id of its own"):
        _once(bench, OPTIONS.model_copy(update={"seed": 2}), NOON + 60)
    _once(bench, OPTIONS.model_copy(update={"seed": 2, "system_id": "city_2"}), NOON + 60)
    assert len(bench.pages("city_2")) == 61


def test_after_a_gap_beyond_catch_up_the_city_begins_anew(bench: FeedBench) -> None:
    _once(bench, OPTIONS, NOON)
    later = NOON + 8 * 86_400
    _once(bench, OPTIONS, later)
    assert [page.poll.observed_at for page in bench.pages()][61:] == list(
        range(later - HISTORY, later + 1, 30)
    )


def test_the_command_runs_the_city_until_sigterm_and_loses_nothing(bench: FeedBench) -> None:
    options = {"stations": 20, "history": "1h", "interval": "5s"}
    bench.catalog_directory({"city": {"kind": "city", "options": options}})
    command = [sys.executable, "-m", "millrace", "feed", "run"]
    with subprocess.Popen(command, env=bench.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if " stored: 20 stations" in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, "".join(lines)
    assert "everything that was fetched is in Kafka" in lines[-1]
    times = [page.poll.observed_at for page in bench.pages()]
    assert times == list(range(times[0], times[0] + 5 * len(times), 5))
    assert len(times) >= 721
    (*_, last_day) = sorted((bench.directory / "home" / "feeds" / "city" / "trips").iterdir())
    _, events = read_truth(last_day)
    assert all(event["at"] <= times[-1] for event in events)


def _recording(directory: Path, number: int) -> Path:
    path = directory / "polls.jsonl"
    with path.open("w") as file:
        for poll in islice(polls(City(3, 20), "x", NOON, 60), number):
            rows = [{"station_id": s.station_id, "num_bikes_available": s.bikes} for s in poll.stations]
            feed = {"last_updated": poll.observed_at, "ttl": 5, "data": {"stations": rows}}
            file.write(json.dumps({"fetched_at": poll.observed_at + 3, "feed": feed}) + "\n")
    return path


def test_a_replay_ends_with_the_end_of_input_and_bad_lines_are_dead_letters(bench: FeedBench) -> None:
    path = _recording(bench.directory, 30)
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:10], "{torn", *text[10:]]) + "\n")
    with bench.context() as context:
        replay.run(context, ReplayOptions(files=[str(path)], system_id="rec"))
    *polls_sent, end = bench.envelopes()
    assert end == EndOfInput("rec", NOON + 29 * 60)
    assert [page.poll.observed_at for page in bench.pages()] == [NOON + 60 * n for n in range(30)]
    assert len(polls_sent) == 30
    (letter,) = bench.dead_letters()
    assert (letter["reason"], letter["body"], letter["system_id"]) == ("not_json", b"{torn", "rec")


def test_a_replay_moved_to_now_keeps_its_distances_and_ends_now(bench: FeedBench) -> None:
    now = NOON + 1_000_000
    path = _recording(bench.directory, 20)
    with bench.context(clock=lambda: now) as context:
        replay.run(context, ReplayOptions(files=[str(path)], times="now"))
    pages = bench.pages()
    assert [page.poll.observed_at for page in pages] == [now - 60 * n for n in reversed(range(20))]
    assert {page.poll.fetched_at - page.poll.observed_at for page in pages} == {3}
    assert bench.envelopes()[-1] == EndOfInput("recorded", now)


def test_a_replay_at_a_multiple_of_real_time_keeps_to_it_and_sigterm_loses_nothing(bench: FeedBench) -> None:
    path = _recording(bench.directory, 100)
    options = {"files": [str(path)], "speed": 600}
    bench.catalog_directory({"rec": {"kind": "replay", "options": options}})
    command = [sys.executable, "-m", "millrace", "feed", "run", "rec"]
    with subprocess.Popen(command, env=bench.environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: bench.count() >= 10, 20, "ten polls")
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=30)
    assert process.returncode == 1
    said = re.search(r"stopped after (\d+) polls", text)
    assert said, text
    times = [page.poll.observed_at for page in bench.pages()]
    assert times == [NOON + 60 * n for n in range(int(said[1]))]
    assert len(times) == len(bench.envelopes()) < 100


def test_a_stop_between_two_polls_is_prompt(bench: FeedBench) -> None:
    stop = Stop()
    stop.set()
    with bench.context(stop) as context:
        city_feed.run(context, OPTIONS)
    assert bench.pages() == []


@needs_shared_data
def test_seven_recorded_days_arrive_whole(bench: FeedBench) -> None:
    path = DIRECTORY / "baywheels_station_status_2023-05-08_7d.jsonl.xz"
    with bench.context() as context:
        replay.run(context, ReplayOptions(files=[str(path)], system_id="baywheels"))
    values = [value for _, value in bench.messages(bench.topic)]
    assert len(values) == 929 + 1
    assert sum(value.count(b'"station_id":') for value in values) == 479_364
    assert decode(values[-1]) == EndOfInput("baywheels", 1_684_133_853)
    first = decode(values[0])
    assert isinstance(first, Page)
    assert (first.poll.observed_at, first.poll.stations[1].bikes) == (1_683_529_595, 5)
