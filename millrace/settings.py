"""Where everything is: one frozen object, read from the environment, the state directory, then defaults.

The environment wins, so that a container or a test needs no file. `<home>/settings.json` holds what
`millrace up` chose (ports, mostly), so that `status`, `down` and commands by hand find the same stack.
Secrets are never in it: they come from the environment or from `<home>/secrets.json` (mode 0600).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from millrace.connections import connection_settings
from millrace.kafka_access import OPEN, KafkaAccess, KafkaSecurity, certificates, read_security
from millrace.settings_error import SettingsError as SettingsError
from millrace.spark_access import OWN_PROCESS, SparkAccess, read_spark
from millrace.stream_host_access import LOCAL, StreamHostAccess, read_access

PROJECT_ROOT = Path(__file__).resolve().parent.parent
IS_SOURCE_TREE = (PROJECT_ROOT / "pyproject.toml").is_file()
"""Else it is installed from a wheel, and where things are must be said."""

DEFAULT_PORTS: dict[str, int] = {
    "KAFKA": 19092,
    "KAFKA_CONTROLLER": 19093,
    "S3": 19000,
    "AIRFLOW": 18080,
}

AWS = "aws"
"""As MILLRACE_S3_ENDPOINT: Amazon's own S3 in the region."""


@dataclass(frozen=True)
class Ports:
    """TCP ports of the embedded stack, all bound to 127.0.0.1."""

    kafka: int
    kafka_controller: int
    s3: int
    airflow: int


@dataclass(frozen=True)
class Settings:
    """One deployment's places. Secrets are left out of `repr`."""

    home: Path
    catalog_dir: Path
    kafka: str
    s3_endpoint: str | None
    s3_region: str
    bucket: str
    prefix: str
    if_match: Literal["atomic", "checked"]
    """`atomic`: the store decides If-Match and writes in one step. `checked`: it checks first and writes
    later, so a conditional PUT can lose to another (the embedded stack's server)."""
    ports: Ports
    streams: str = ""
    """Names of streams, separated by commas, that begin by themselves; empty: those of the catalog's `autostart`."""
    feeds: str = ""
    """Names of feeds, separated by commas, that begin by themselves, as Airflow supervises them."""
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    """Of temporary S3 keys, which are refused without it."""
    s3_ca: Path | None = None
    """A PEM file with the authorities to trust at the S3 endpoint; None: those that the system trusts."""
    s3_addressing: Literal["path", "virtual"] = "path"
    """`virtual`: the bucket is part of the host name, as Amazon prefers it; `path`: the first part of the path."""
    kafka_security: KafkaSecurity = OPEN
    stream_host: StreamHostAccess = LOCAL
    spark: SparkAccess = OWN_PROCESS

    @property
    def kafka_access(self) -> KafkaAccess:
        """Where Kafka is and what it asks for, as clients are given it."""
        return KafkaAccess(self.kafka, self.kafka_security)

    @property
    def secrets(self) -> list[str]:
        """What must never be printed: all that is left out of `repr`."""
        found = (
            self.access_key,
            self.secret_key,
            self.session_token,
            self.kafka_security.password,
            self.stream_host.password,
        )
        return [secret for secret in found if secret]

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.airflow}"


def load(env: Mapping[str, str] | None = None) -> Settings:
    """The settings in force. Raises SettingsError naming the variable or file that is wrong."""
    env = os.environ if env is None else env
    env = {**env, **connection_settings(env)}
    home = _place(
        env.get("MILLRACE_HOME"), "MILLRACE_HOME", ".millrace", "a directory for checkpoints and logs"
    )
    kept = _read_json(home / "settings.json")
    secrets = _read_json(home / "secrets.json")

    def value(name: str) -> str | None:
        found = env.get(name) or kept.get(name)
        return str(found) if found not in (None, "") else None

    def secret(name: str) -> str | None:
        return env.get(name) or secrets.get(name)

    def port(name: str) -> int:
        raw = value(f"MILLRACE_PORT_{name}")
        if raw is None:
            return DEFAULT_PORTS[name]
        if not (raw.isascii() and raw.isdigit()) or not 1 <= int(raw) <= 65535:
            raise SettingsError(f"MILLRACE_PORT_{name}={raw!r} is not a port: a number from 1 to 65535")
        return int(raw)

    ports = Ports(**{name.lower(): port(name) for name in DEFAULT_PORTS})
    if_match = value("MILLRACE_S3_IF_MATCH") or "checked"
    if if_match not in ("atomic", "checked"):
        raise SettingsError(f"MILLRACE_S3_IF_MATCH={if_match!r}: it must be 'atomic' or 'checked'")
    named = value("MILLRACE_S3_ENDPOINT") or f"http://127.0.0.1:{ports.s3}"
    endpoint = None if named == AWS else named
    return Settings(
        home=home,
        catalog_dir=_place(
            value("MILLRACE_CATALOG"), "MILLRACE_CATALOG", "catalog", "the directory with streams.yaml"
        ),
        kafka=value("MILLRACE_KAFKA") or f"127.0.0.1:{ports.kafka}",
        s3_endpoint=endpoint,
        s3_region=value("MILLRACE_S3_REGION") or "us-east-1",
        bucket=value("MILLRACE_BUCKET") or "millrace",
        prefix=value("MILLRACE_PREFIX") or "",
        if_match="atomic" if if_match == "atomic" else "checked",
        ports=ports,
        streams=value("MILLRACE_STREAMS") or "",
        feeds=value("MILLRACE_FEEDS") or "",
        access_key=secret("AWS_ACCESS_KEY_ID"),
        secret_key=secret("AWS_SECRET_ACCESS_KEY"),
        session_token=secret("AWS_SESSION_TOKEN"),
        s3_ca=_s3_ca(value("MILLRACE_S3_CA"), endpoint),
        s3_addressing=_s3_addressing(value("MILLRACE_S3_ADDRESSING") or "path", endpoint),
        kafka_security=read_security(value, secret),
        stream_host=read_access(value, secret),
        spark=read_spark(value),
    )


def expectations_dir(env: Mapping[str, str] | None = None) -> Path:
    """The suites: MILLRACE_EXPECTATIONS, else those of the source tree, else `expectations/` beside the catalog."""
    env = os.environ if env is None else env
    if named := env.get("MILLRACE_EXPECTATIONS"):
        return Path(named).expanduser().absolute()
    own = PROJECT_ROOT / "expectations"
    catalog = env.get("MILLRACE_CATALOG")
    if IS_SOURCE_TREE or not catalog:
        return own
    return Path(catalog).expanduser().absolute().parent / "expectations"


def _place(named: str | None, name: str, in_tree: str, what: str) -> Path:
    """A directory that has a default only where Millrace runs from its source tree."""
    if named is None or named == "":
        if not IS_SOURCE_TREE:
            raise SettingsError(f"{name} is not set: it must be {what} (docs/deploy.md)")
        return PROJECT_ROOT / in_tree
    return Path(named).expanduser().absolute()


def _s3_ca(path: str | None, endpoint: str | None) -> Path | None:
    if path is not None and endpoint is not None and not endpoint.startswith("https://"):
        raise SettingsError(
            f"MILLRACE_S3_CA is set, but MILLRACE_S3_ENDPOINT={endpoint} uses no TLS: it must begin with https://, "
            "or leave MILLRACE_S3_CA out"
        )
    return certificates("MILLRACE_S3_CA", path) if path is not None else None


def _s3_addressing(how: str, endpoint: str | None) -> Literal["path", "virtual"]:
    if how == "path":
        return "path"
    if how != "virtual":
        raise SettingsError(f"MILLRACE_S3_ADDRESSING={how!r}: it must be 'path' or 'virtual'")
    host = urlsplit(endpoint).hostname if endpoint is not None else None
    if host is not None and _is_address(host):
        raise SettingsError(
            f"MILLRACE_S3_ADDRESSING=virtual puts the bucket before the host name, and MILLRACE_S3_ENDPOINT={endpoint} "
            "has none but an address: name the server, or use 'path'"
        )
    return "virtual"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _read_json(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}): let this user read it, or name another directory with "
            "MILLRACE_HOME"
        ) from None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path} is not valid JSON ({error}); mend it or delete it") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold one JSON object of names and values; mend it or delete it")
    return content
