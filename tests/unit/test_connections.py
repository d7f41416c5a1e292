"""Connections as Airflow writes them, and what of them is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace import settings
from millrace.settings import SettingsError

KAFKA = {
    "conn_type": "kafka",
    "extra": {
        "bootstrap.servers": "broker:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "millrace",
        "sasl.password": "hidden",
        "group.id": "anything",
    },
}
S3 = {
    "conn_type": "aws",
    "login": "ASIAEXAMPLE",
    "password": "hidden/+key",
    "extra": {"aws_session_token": "hidden-token", "region_name": "eu-central-1"},
}


def load(tmp_path: Path, kafka: Any = None, s3: Any = None, **names: str) -> settings.Settings:
    env = {"MILLRACE_HOME": str(tmp_path), **names}
    for kind, connection in (("KAFKA", kafka), ("S3", s3)):
        if connection is not None:
            env[f"MILLRACE_{kind}_CONNECTION"] = f"my_{kind.lower()}"
            env[f"AIRFLOW_CONN_MY_{kind}"] = (
                connection if isinstance(connection, str) else json.dumps(connection)
            )
    return settings.load(env)


def test_a_kafka_connection_says_everything(tmp_path: Path) -> None:
    found = load(tmp_path, KAFKA)
    assert found.kafka == "broker:9093"
    security = found.kafka_security
    assert (security.protocol, security.mechanism, security.username, security.password) == (
        "SASL_SSL",
        "SCRAM-SHA-256",
        "millrace",
        "hidden",
    )


def test_an_aws_connection_says_everything(tmp_path: Path) -> None:
    found = load(tmp_path, s3=S3, MILLRACE_BUCKET="hours")
    assert (found.s3_endpoint, found.s3_region, found.bucket) == (None, "eu-central-1", "hours")
    assert (found.access_key, found.secret_key, found.session_token) == (
        "ASIAEXAMPLE",
        "hidden/+key",
        "hidden-token",
    )
    assert found.s3_addressing == "path"
    own = {
        **S3,
        "extra": {
            "endpoint_url": "https://s3.example.org",
            "config_kwargs": {"s3": {"addressing_style": "virtual"}},
        },
    }
    found = load(tmp_path, s3=own)
    assert (found.s3_endpoint, found.s3_addressing) == ("https://s3.example.org", "virtual")


def test_airflows_own_uris_and_json_say_the_same(tmp_path: Path) -> None:
    from airflow.models.connection import Connection

    for kafka, s3 in ((KAFKA, S3), (json.loads(json.dumps(KAFKA)), S3)):
        made = [
            Connection(
                conn_id="any",
                conn_type=one["conn_type"],
                login=one.get("login"),
                password=one.get("password"),
                extra=json.dumps(one["extra"]),
            )
            for one in (kafka, s3)
        ]
        plain = load(tmp_path, KAFKA, S3)
        assert load(tmp_path, made[0].get_uri(), made[1].get_uri()) == plain
        assert load(tmp_path, made[0].as_json(), made[1].as_json()) == plain


@pytest.mark.parametrize(
    ("kafka", "s3", "names", "words"),
    [
        (KAFKA, None, {"MILLRACE_KAFKA": "b:1"}, "and MILLRACE_KAFKA both say the same thing"),
        (
            None,
            None,
            {"MILLRACE_KAFKA_CONNECTION": "gone"},
            "there is no AIRFLOW_CONN_GONE in this environment",
        ),
        ("not a connection", None, {}, "AIRFLOW_CONN_MY_KAFKA is neither JSON"),
        ("{", None, {}, "AIRFLOW_CONN_MY_KAFKA is neither JSON"),
        (S3, None, {}, "the connection's type is 'aws', not 'kafka'"),
        ({"conn_type": "kafka"}, None, {}, "no bootstrap.servers"),
        (
            {"conn_type": "kafka", "extra": {"bootstrap.servers": "b:1", "ssl.certificate.location": "/c"}},
            None,
            {},
            "ssl.certificate.location is not supported",
        ),
        (None, {**S3, "login": ""}, {}, "it has no login, which is the AWS_ACCESS_KEY_ID"),
        (None, {**S3, "extra": {"role_arn": "arn:aws:iam::1:role/x"}}, {}, "role_arn is not supported"),
        (None, {**S3, "extra": {"verify": False}}, {}, "anybody could pose as the store"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    tmp_path: Path, kafka: Any, s3: Any, names: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, kafka, s3, **names)
    assert words in str(refused.value)
    assert "hidden" not in str(refused.value)
