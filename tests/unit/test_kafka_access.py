"""Settings of a guarded Kafka, under each client's own names, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import settings
from millrace.kafka_access import (
    JAAS,
    KafkaAccess,
    KafkaSecurity,
    jvm_environment,
    librdkafka,
    spark_options,
)
from millrace.settings import SettingsError

PASSWORD = 'pass"word\\with;all of ${env:HOME}'
LOGIN = {
    "MILLRACE_KAFKA": "broker:9093",
    "MILLRACE_KAFKA_SECURITY": "sasl_ssl",
    "MILLRACE_KAFKA_SASL_MECHANISM": "scram-sha-512",
    "MILLRACE_KAFKA_USERNAME": "millrace",
    "MILLRACE_KAFKA_PASSWORD": PASSWORD,
}


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")
    return path


def load(tmp_path: Path, **names: str) -> settings.Settings:
    return settings.load({"MILLRACE_HOME": str(tmp_path), **names})


def test_an_address_alone_asks_for_nothing(tmp_path: Path) -> None:
    access = load(tmp_path, MILLRACE_KAFKA="broker:9092").kafka_access
    assert librdkafka(access) == librdkafka("broker:9092") == {"bootstrap.servers": "broker:9092"}
    assert spark_options(access) == {"kafka.bootstrap.servers": "broker:9092"}
    assert jvm_environment(access.security) == {}


def test_librdkafka_is_given_everything(tmp_path: Path, ca: Path) -> None:
    access = load(tmp_path, **LOGIN, MILLRACE_KAFKA_CA=str(ca)).kafka_access
    assert librdkafka(access) == {
        "bootstrap.servers": "broker:9093",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "millrace",
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(ca),
    }


def test_spark_is_told_where_the_password_is_and_not_what_it_is(tmp_path: Path, ca: Path) -> None:
    access = load(tmp_path, **LOGIN, MILLRACE_KAFKA_CA=str(ca)).kafka_access
    options = spark_options(access)
    assert options["kafka.sasl.jaas.config"] == f"${{env:{JAAS}}}"
    assert options["kafka.ssl.truststore.location"] == str(ca)
    assert not any(PASSWORD in value for value in options.values())
    said = jvm_environment(access.security)[JAAS]
    assert said.startswith("org.apache.kafka.common.security.scram.ScramLoginModule required ")
    assert said.endswith('password="pass\\"word\\\\with;all of ${env:HOME}";')


def test_the_password_is_not_shown(tmp_path: Path) -> None:
    found = load(tmp_path, **LOGIN)
    assert PASSWORD not in repr(found)
    assert PASSWORD not in repr(found.kafka_access)
    assert str(found.kafka_access) == "broker:9093"


def test_the_password_may_be_in_the_file_of_secrets(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"MILLRACE_KAFKA_PASSWORD": "kept"}')
    names = {name: value for name, value in LOGIN.items() if name != "MILLRACE_KAFKA_PASSWORD"}
    assert load(tmp_path, **names).kafka_security.password == "kept"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MILLRACE_KAFKA_SECURITY": "tls"}, "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"MILLRACE_KAFKA_SASL_MECHANISM": ""}, "MILLRACE_KAFKA_SASL_MECHANISM, which is not set"),
        ({"MILLRACE_KAFKA_SASL_MECHANISM": "GSSAPI"}, "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({"MILLRACE_KAFKA_USERNAME": ""}, "set MILLRACE_KAFKA_USERNAME"),
        ({"MILLRACE_KAFKA_PASSWORD": ""}, "set MILLRACE_KAFKA_PASSWORD"),
        ({"MILLRACE_KAFKA_SECURITY": ""}, "MILLRACE_KAFKA_SECURITY is PLAINTEXT, which does not log in"),
        ({"MILLRACE_KAFKA_SECURITY": "SSL"}, "set it to SASL_SSL"),
        ({"MILLRACE_KAFKA_CA": "/nowhere/ca.pem"}, "MILLRACE_KAFKA_CA=/nowhere/ca.pem: No such file"),
        (
            {"MILLRACE_KAFKA_SECURITY": "SASL_PLAINTEXT", "MILLRACE_KAFKA_CA": "/nowhere/ca.pem"},
            "which uses no TLS: set it to SASL_SSL",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_KAFKA_") as refused:
        load(tmp_path, **{**LOGIN, **changes})
    assert words in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_a_truststore_of_java_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trust.jks").write_bytes(b"\xfe\xed\xfe\xed")
    with pytest.raises(SettingsError, match=r"holds no certificate.*keytool"):
        load(tmp_path, **LOGIN, MILLRACE_KAFKA_CA=str(tmp_path / "trust.jks"))


def test_the_embedded_stack_never_takes_another_kafkas_login(tmp_path: Path) -> None:
    from millrace.local.home import stack_settings

    found = stack_settings({"MILLRACE_HOME": str(tmp_path), **LOGIN})
    assert found.kafka_access == KafkaAccess("127.0.0.1:19092", KafkaSecurity())
