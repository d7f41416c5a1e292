"""The embedded Kafka as people have theirs: only TLS, and only after a login with SCRAM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from millrace.kafka_access import KafkaAccess, KafkaSecurity, librdkafka
from millrace.local.kafka import KafkaServer
from millrace.local.ports import free_ports
from tests.conftest import running, wait_until
from tests.integration.certificates import Certificates, make_certificates

USER, PASSWORD = "millrace", 'only for "tests"; \\ and = too'


@dataclass(frozen=True)
class SecureServer(KafkaServer):
    """`port` is the guarded listener; `inner_port` another one, that only the broker and its first user see."""

    inner_port: int
    certificates: Certificates

    def properties(self) -> str:
        changed = {
            "listeners": f"GUARDED://127.0.0.1:{self.port},INNER://127.0.0.1:{self.inner_port},"
            f"CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"GUARDED://127.0.0.1:{self.port},INNER://127.0.0.1:{self.inner_port}",
            "listener.security.protocol.map": "GUARDED:SASL_SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INNER",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.guarded.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificates.server,
        }
        return super().properties() + "".join(f"{name}={value}\n" for name, value in changed.items())

    def is_ready(self) -> bool:
        try:
            return bool(self._inner().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def add_user(self) -> None:
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        user = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
        admin = self._inner()  # it must live until the answer is there
        admin.alter_user_scram_credentials([user])[USER].result(30)

    def _inner(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": f"127.0.0.1:{self.inner_port}", "log_level": 0})


@dataclass(frozen=True)
class SecureKafka:
    """A running broker, and how its user reaches it."""

    access: KafkaAccess
    ca: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MILLRACE_KAFKA": self.access.bootstrap,
            "MILLRACE_KAFKA_SECURITY": "SASL_SSL",
            "MILLRACE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "MILLRACE_KAFKA_USERNAME": USER,
            "MILLRACE_KAFKA_PASSWORD": PASSWORD,
            "MILLRACE_KAFKA_CA": str(self.ca),
        }


@contextmanager
def secure_kafka(directory: Path) -> Iterator[SecureKafka]:
    """A guarded broker for the length of a block."""
    certificates = make_certificates(directory / "certificates")
    port, controller, inner = free_ports(3)
    server = SecureServer(directory / "kafka", port, controller, inner, certificates)
    server.prepare()
    log = directory / "kafka.log"
    with running(server.command(), log) as process:
        wait_until(lambda: server.is_ready() or process.poll() is not None, 60, "Kafka to start")
        assert process.poll() is None, log.read_text()
        server.add_user()
        security = KafkaSecurity("SASL_SSL", "SCRAM-SHA-512", USER, PASSWORD, certificates.ca)
        access = KafkaAccess(server.bootstrap, security)
        # The user is known a moment after the answer.
        wait_until(lambda: _lets_in(access), 30, "the user to be known", every=0.2)
        yield SecureKafka(access, certificates.ca)


def _lets_in(access: KafkaAccess) -> bool:
    try:
        return bool(AdminClient({**librdkafka(access), "log_level": 0}).list_topics(timeout=2).brokers)
    except KafkaException:
        return False
