"""How every client reaches Kafka: the address, and with it what the brokers ask for (TLS, a login).

The settings are read once (`read_security`); a function per kind of client gives them under that client's names:
`librdkafka` for producers, consumers and admin clients of this process, `spark_options` for Spark's source.
A password is in the environment of a process or in its memory, never in an option that Spark might show: Spark is
told the name of a variable, and Kafka's own client in the JVM looks into it (`jvm_environment`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.settings_error import SettingsError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
MECHANISMS = tuple(_MODULES)
JAAS = "MILLRACE_KAFKA_JAAS"
"""The variable of a driver's environment that holds the login for the JVM; made by us, not set by people."""


@dataclass(frozen=True)
class KafkaSecurity:
    """What the brokers ask for. The password is left out of `repr`."""

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    """A PEM file with the authorities to trust; None: those that the system trusts."""

    @property
    def logs_in(self) -> bool:
        return self.protocol.startswith("SASL_")

    @property
    def is_encrypted(self) -> bool:
        return self.protocol.endswith("SSL")


OPEN = KafkaSecurity()
"""Brokers that ask for nothing."""


@dataclass(frozen=True)
class KafkaAccess:
    """The bootstrap servers and how to talk to them. As text it is the address alone."""

    bootstrap: str
    security: KafkaSecurity = OPEN

    def __str__(self) -> str:
        return self.bootstrap


Kafka = str | KafkaAccess
"""An address alone is a Kafka that asks for nothing, as the embedded one."""


def librdkafka(kafka: Kafka) -> dict[str, Any]:
    """The options with which a client of confluent-kafka connects."""
    access = _access(kafka)
    security = access.security
    options = {"bootstrap.servers": access.bootstrap}
    if security.protocol != "PLAINTEXT":
        options["security.protocol"] = security.protocol.lower()
    if security.logs_in:
        assert security.mechanism and security.username and security.password  # noqa: PT018 - read_security
        options["sasl.mechanism"] = security.mechanism
        options["sasl.username"] = security.username
        options["sasl.password"] = security.password
    if security.ca is not None:
        options["ssl.ca.location"] = str(security.ca)
    return options


def spark_options(kafka: Kafka) -> dict[str, str]:
    """The options of Spark's Kafka source and sink. No secret is in them: see `jvm_environment`."""
    access = _access(kafka)
    security = access.security
    options = {"kafka.bootstrap.servers": access.bootstrap}
    if security.protocol != "PLAINTEXT":
        options["kafka.security.protocol"] = security.protocol
    if security.logs_in:
        assert security.mechanism
        options |= {
            "kafka.sasl.mechanism": security.mechanism,
            "kafka.config.providers": "env",
            "kafka.config.providers.env.class": (
                "org.apache.kafka.common.config.provider.EnvVarConfigProvider"
            ),
            "kafka.sasl.jaas.config": f"${{env:{JAAS}}}",
        }
    if security.ca is not None:
        options |= {
            "kafka.ssl.truststore.type": "PEM",
            "kafka.ssl.truststore.location": str(security.ca),
        }
    return options


def jvm_environment(security: KafkaSecurity) -> dict[str, str]:
    """What a JVM must have in its environment for `spark_options` to work."""
    if not security.logs_in:
        return {}
    assert security.mechanism and security.username and security.password  # noqa: PT018 - read_security
    module = _MODULES[security.mechanism]
    username, password = _quoted(security.username), _quoted(security.password)
    return {JAAS: f"{module} required username={username} password={password};"}


def read_security(value: Callable[[str], str | None], secret: Callable[[str], str | None]) -> KafkaSecurity:
    """The settings MILLRACE_KAFKA_*, by name. Raises SettingsError for what does not go together.

    `value` gives an ordinary setting, `secret` one that is never kept with the others.
    """
    protocol = (value("MILLRACE_KAFKA_SECURITY") or "PLAINTEXT").upper()
    mechanism = value("MILLRACE_KAFKA_SASL_MECHANISM")
    username = value("MILLRACE_KAFKA_USERNAME")
    password = secret("MILLRACE_KAFKA_PASSWORD")  # a name, not a password
    ca = value("MILLRACE_KAFKA_CA")
    if protocol not in PROTOCOLS:
        raise SettingsError(f"MILLRACE_KAFKA_SECURITY={protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
    if protocol.startswith("SASL_"):
        mechanism = mechanism.upper() if mechanism else None
        _check_login(protocol, mechanism, username, password)
    else:
        given = {
            "MILLRACE_KAFKA_SASL_MECHANISM": mechanism,
            "MILLRACE_KAFKA_USERNAME": username,
            "MILLRACE_KAFKA_PASSWORD": password,
        }
        if names := [name for name, content in given.items() if content]:
            raise SettingsError(
                f"{names[0]} is set, but MILLRACE_KAFKA_SECURITY is {protocol}, which does not log in: set it to "
                "SASL_SSL (or SASL_PLAINTEXT without TLS), or leave the login out"
            )
    if ca is not None and not protocol.endswith("SSL"):
        raise SettingsError(
            f"MILLRACE_KAFKA_CA is set, but MILLRACE_KAFKA_SECURITY is {protocol}, which uses no TLS: set it to "
            f"{'SASL_SSL' if protocol.startswith('SASL') else 'SSL'}, or leave MILLRACE_KAFKA_CA out"
        )
    return KafkaSecurity(
        protocol,
        mechanism,
        username,
        password,
        certificates("MILLRACE_KAFKA_CA", ca) if ca is not None else None,
    )


def certificates(name: str, path: str) -> Path:
    """The PEM file of a setting. Raises SettingsError when it cannot be one."""
    file = Path(path).expanduser().absolute()
    try:
        text = file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SettingsError(
            f"{name}={path}: {error.strerror}; it must be a PEM file with the certificates to trust"
        ) from None
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise SettingsError(
            f"{name}={path} holds no certificate: it must be a PEM file (with '-----BEGIN CERTIFICATE-----'); "
            "a JKS or PKCS#12 truststore is turned into one with `keytool -exportcert -rfc`"
        )
    return file


class LastError:
    """Takes what librdkafka says of its connections (as `error_cb`): a refused login or certificate is told there,
    and the call itself only times out."""

    def __init__(self) -> None:
        self.text: str | None = None

    def of(self, client: Any, error: Any) -> str:
        """Why a call of a client failed: its own KafkaException, or what is behind it."""
        client.poll(0)  # nothing is told before it is asked for
        return self.text or str(error.args[0].str())

    def __call__(self, error: Any) -> None:
        # "All brokers down" is said last, and explains nothing.
        from confluent_kafka import KafkaError

        if error.code() != KafkaError._ALL_BROKERS_DOWN or self.text is None:
            self.text = str(error.str())


def _check_login(protocol: str, mechanism: str | None, username: str | None, password: str | None) -> None:
    if mechanism not in MECHANISMS:
        is_now = f"is {mechanism!r}" if mechanism else "is not set"
        raise SettingsError(
            f"MILLRACE_KAFKA_SECURITY={protocol} needs MILLRACE_KAFKA_SASL_MECHANISM, which {is_now}: it must be one "
            f"of {', '.join(MECHANISMS)}"
        )
    for name, content in (("MILLRACE_KAFKA_USERNAME", username), ("MILLRACE_KAFKA_PASSWORD", password)):
        if not content:
            raise SettingsError(f"MILLRACE_KAFKA_SECURITY={protocol} logs in: set {name}")


def _access(kafka: Kafka) -> KafkaAccess:
    return KafkaAccess(kafka) if isinstance(kafka, str) else kafka


def _quoted(text: str) -> str:
    """As JAAS reads a value."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
