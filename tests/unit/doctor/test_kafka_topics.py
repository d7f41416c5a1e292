"""What differs between topics and the catalog, and how much it matters."""

from __future__ import annotations

import pytest

from millrace.catalog import TopicSpec
from millrace.doctor.kafka import judge_topics, what_to_do
from millrace.kafka_topics import topic_config

ORDERS = TopicSpec(name="orders", partitions=2)
RIGHT = topic_config(ORDERS)


def judged(partitions: dict[str, int], config: dict[str, str] | str = "") -> list[tuple[str, str]]:
    found = judge_topics({"orders": ORDERS}, partitions, {"orders": config})
    return [(one.level, one.says) for one in found]


def test_topics_as_in_the_catalog_are_not_worth_a_word() -> None:
    assert judged({"orders": 2, "another": 7}, RIGHT) == []


def test_a_missing_topic_is_made_by_its_feed() -> None:
    assert judged({}) == [("warning", "topic orders is not there")]


def test_another_number_of_partitions_is_an_error() -> None:
    assert judged({"orders": 3}, RIGHT) == [("error", "topic orders has 3 partitions, the catalog says 2")]


def test_producers_dates_are_an_error_and_the_rest_a_warning() -> None:
    found = judged({"orders": 2}, RIGHT | {"message.timestamp.type": "CreateTime", "retention.ms": "1000"})
    assert [level for level, _ in found] == ["error", "warning"]
    assert "dated by their producers" in found[0][1]
    assert "retention.ms=1000 (catalog: " in found[1][1]


def test_settings_that_may_not_be_seen_are_a_warning() -> None:
    ((level, says),) = judged({"orders": 2}, "Broker: Topic authorization failed")
    assert (level, "Topic authorization failed" in says) == ("warning", True)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("SASL authentication error: Authentication failed during authentication", "MILLRACE_KAFKA_PASSWORD"),
        ("SSL handshake failed: certificate verify failed", "MILLRACE_KAFKA_CA"),
        ("SSL handshake failed: wrong version number", "MILLRACE_KAFKA_SECURITY"),
        ("SCRAM-SHA-256 handshake failed: Unsupported SASL mechanism", "MILLRACE_KAFKA_SASL_MECHANISM"),
        ("Connect to ipv4#127.0.0.1:9 failed: Connection refused", "MILLRACE_KAFKA right"),
    ],
)
def test_every_usual_refusal_has_its_remedy(reason: str, words: str) -> None:
    assert words in what_to_do(reason)


def test_a_port_that_answers_but_not_as_told_is_of_another_kind() -> None:
    assert "MILLRACE_KAFKA_SECURITY" in what_to_do("1/1 brokers are down", port_answers=True)
