"""The doctor at a real Kafka and a real S3 server, healthy and not, and as a command."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from millrace.catalog import TopicSpec
from millrace.doctor.finding import Finding
from millrace.doctor.kafka import PROBE, look_at_kafka
from millrace.doctor.store import look_at_store
from millrace.kafka_topics import ensure_topics
from millrace.local.ports import free_ports
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store, open_store
from tests.integration.millrace_command import millrace

pytestmark = pytest.mark.stack


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.says) for one in findings if one.level != "fine"]


def test_the_embedded_store_creates_exactly_and_the_look_leaves_nothing(store: S3Store) -> None:
    findings = list(look_at_store(store, rounds=10))
    assert "creating under a race: one winner in 10 of 10 rounds" in [one.says for one in findings]
    # It is known to check If-Match first and write later; how often that shows depends on the machine.
    assert {level for level, _ in bad(findings)} <= {"warning"}
    assert list(store.list_objects("doctor/")) == []


@pytest.mark.parametrize(
    ("wrong", "do"),
    [
        ({"secret_key": "wrong"}, "AWS_SECRET_ACCESS_KEY"),
        ({"access_key": "nobody"}, "AWS_ACCESS_KEY_ID"),
        ({"bucket": "no-such-bucket"}, "MILLRACE_BUCKET"),
        ({"s3_endpoint": "http://127.0.0.1:1"}, "MILLRACE_S3_ENDPOINT"),
        ({"s3_endpoint": "https"}, "MILLRACE_S3_ENDPOINT begins with https://"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_with_what_would_be_right(
    store_settings: Settings, wrong: dict[str, str], do: str
) -> None:
    if wrong.get("s3_endpoint") == "https":
        wrong = {"s3_endpoint": str(store_settings.s3_endpoint).replace("http:", "https:")}
    (finding,) = look_at_store(open_store(replace(store_settings, **wrong)), rounds=1)
    assert finding.level == "error"
    assert do in finding.do, finding
    assert str(store_settings.secret_key) not in finding.says


def test_topics_are_compared_and_a_record_goes_there_and_back(kafka: str) -> None:
    names = [f"doctor_{os.getpid()}_{kind}" for kind in ("right", "wrong", "missing")]
    right, wrong, missing = (TopicSpec(name=name, partitions=1) for name in names)
    ensure_topics(kafka, [right])
    admin = AdminClient({"bootstrap.servers": kafka})
    # What somebody else made, by hand and without the catalog.
    admin.create_topics([NewTopic(wrong.name, 2, 1)])[wrong.name].result(30)
    topics = {spec.name: spec for spec in (right, wrong, missing)}
    findings = list(look_at_kafka(kafka, topics, probe=True))
    found = bad(findings)
    assert [level for level, _ in found] == ["error", "error", "warning", "warning"]
    assert all(wrong.name in says for _, says in found[:3])
    assert found[3][1] == f"topic {missing.name} is not there"
    assert findings[-1].says == "its clock and the one here agree (within 5 s)"
    assert not any(name.startswith(PROBE) for name in admin.list_topics(timeout=10).topics)


def test_a_kafka_that_is_not_there_is_told_with_its_address() -> None:
    (port,) = free_ports(1)
    (finding,) = look_at_kafka(f"127.0.0.1:{port}", {}, probe=True, timeout=1)
    assert finding.level == "error"
    assert f"no broker answers at 127.0.0.1:{port}" in finding.says
    assert "MILLRACE_KAFKA right" in finding.do


def test_as_a_command_it_says_everything_and_ends_with_1(store_settings: Settings) -> None:
    (port,) = free_ports(1)
    broken = replace(store_settings, kafka=f"127.0.0.1:{port}")
    done = millrace(broken, PROJECT_ROOT / "catalog", "doctor", "--json", MILLRACE_KAFKA=broken.kafka)
    findings = [Finding(**one) for one in json.loads(done.stdout)]
    assert done.returncode == 1, done.stderr
    by_part = {
        part: [one.level for one in findings if one.part == part] for part in {f.part for f in findings}
    }
    assert by_part["Java"] == by_part["Jars"] == by_part["Python"] == by_part["Catalog"] == ["fine"]
    assert by_part["Kafka"] == by_part["Stream host"] == ["error"]
    assert "error" not in by_part["Store"]
    # No Airflow was set up in this environment: every component would make up its own secret.
    assert "every component makes up its own" in " ".join(f.says for f in findings if f.level == "error")
    assert all(one.do for one in findings if one.level != "fine")
    assert str(store_settings.secret_key) not in done.stdout + done.stderr


def test_a_wrong_setting_is_refused_before_anything_is_looked_at(
    store_settings: Settings, tmp_path: Path
) -> None:
    done = millrace(store_settings, tmp_path, "doctor", MILLRACE_KAFKA_SECURITY="TLS")
    assert done.returncode == 1
    assert done.stderr.startswith("millrace: MILLRACE_KAFKA_SECURITY='TLS': it must be one of PLAINTEXT")
