"""Settings out of Airflow connections, so that a team that has them need not write them down twice.

`MILLRACE_KAFKA_CONNECTION`, `MILLRACE_S3_CONNECTION` and `MILLRACE_SPARK_CONNECTION` name a connection of type `kafka`,
`aws` or `spark`, which is read from the variable `AIRFLOW_CONN_<NAME>`, as JSON or as a URI. Not from Airflow's
database: feeds and drivers are no part of Airflow, and everything here must have the same settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from millrace.settings_error import SettingsError

_KAFKA = {
    "bootstrap.servers": "MILLRACE_KAFKA",
    "security.protocol": "MILLRACE_KAFKA_SECURITY",
    "sasl.mechanism": "MILLRACE_KAFKA_SASL_MECHANISM",
    "sasl.mechanisms": "MILLRACE_KAFKA_SASL_MECHANISM",
    "sasl.username": "MILLRACE_KAFKA_USERNAME",
    "sasl.password": "MILLRACE_KAFKA_PASSWORD",
    "ssl.ca.location": "MILLRACE_KAFKA_CA",
}
"""What a connection of type kafka has in its extra: librdkafka's own names."""
_S3 = {
    "aws_session_token": "AWS_SESSION_TOKEN",
    "region_name": "MILLRACE_S3_REGION",
    "endpoint_url": "MILLRACE_S3_ENDPOINT",
}
_NOT_KNOWN_HERE = ("role_arn", "assume_role_method", "assume_role_kwargs", "profile_name")

Extra = Mapping[str, Any]


def connection_settings(env: Mapping[str, str]) -> dict[str, str]:
    """The settings that the named connections stand for, by their own names. Raises SettingsError."""
    found: dict[str, str] = {}
    sources: list[tuple[str, Callable[[str, Mapping[str, Any]], dict[str, str]]]] = [
        ("MILLRACE_KAFKA_CONNECTION", _of_kafka),
        ("MILLRACE_S3_CONNECTION", _of_s3),
        ("MILLRACE_SPARK_CONNECTION", _of_spark),
    ]
    for setting, read in sources:
        if name := env.get(setting):
            said = read(f"{setting}={name}", _connection(env, setting, name))
            if twice := sorted(key for key in said if env.get(key)):
                raise SettingsError(
                    f"{setting}={name} and {twice[0]} both say the same thing: leave one of them out"
                )
            found |= said
    return found


def _connection(env: Mapping[str, str], setting: str, name: str) -> Mapping[str, Any]:
    variable = f"AIRFLOW_CONN_{name.upper()}"
    text = env.get(variable)
    if not text:
        raise SettingsError(
            f"{setting}={name}, but there is no {variable} in this environment: set it, to JSON or a URI, for "
            "Airflow's components, the stream host and the feeds alike (a connection that is only in Airflow's "
            "database is not seen by the others)"
        )
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else _from_uri(text)
        extra = content.get("extra") or {}
        content["extra"] = json.loads(extra) if isinstance(extra, str) else dict(extra)
    except (ValueError, TypeError, AttributeError):
        raise SettingsError(
            f'{variable} is neither JSON (such as {{"conn_type": "kafka", "extra": {{}}}}) nor a URI'
        ) from None
    return dict(content)


def _from_uri(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no URI")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {
        "conn_type": parts.scheme,
        "host": unquote(parts.hostname) if parts.hostname else None,
        "port": parts.port,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "extra": json.loads(query["__extra__"]) if "__extra__" in query else query,
    }


def _of_kafka(what: str, connection: Mapping[str, Any]) -> dict[str, str]:
    _check_type(what, connection, "kafka")
    extra: Extra = connection["extra"]
    unknown = [key for key in extra if key.startswith(("ssl.", "sasl.", "security.")) and key not in _KAFKA]
    if unknown:
        raise SettingsError(
            f"{what}: {unknown[0]} is not supported; of these settings Millrace knows {', '.join(_KAFKA)}"
        )
    if not extra.get("bootstrap.servers"):
        raise SettingsError(f"{what}: its extra has no bootstrap.servers")
    return {_KAFKA[key]: str(value) for key, value in extra.items() if key in _KAFKA and value}


def _of_s3(what: str, connection: Mapping[str, Any]) -> dict[str, str]:
    _check_type(what, connection, "aws")
    extra: Extra = connection["extra"]
    if unknown := [key for key in _NOT_KNOWN_HERE if extra.get(key)]:
        raise SettingsError(
            f"{what}: {unknown[0]} is not supported; give it keys (login and password, and aws_session_token in the "
            "extra for temporary ones)"
        )
    found = {_S3[key]: str(value) for key, value in extra.items() if key in _S3 and value}
    found.setdefault("MILLRACE_S3_ENDPOINT", "aws")
    for name, field in (("AWS_ACCESS_KEY_ID", "login"), ("AWS_SECRET_ACCESS_KEY", "password")):
        if not connection.get(field):
            raise SettingsError(f"{what}: it has no {field}, which is the {name}")
        found[name] = str(connection[field])
    if style := ((extra.get("config_kwargs") or {}).get("s3") or {}).get("addressing_style"):
        found["MILLRACE_S3_ADDRESSING"] = str(style)
    verify = extra.get("verify")
    if verify in (False, "false", "False"):
        raise SettingsError(
            f"{what}: verify is off, so anybody could pose as the store: let it be the PEM file of the authority"
        )
    if isinstance(verify, str) and verify not in ("true", "True"):
        found["MILLRACE_S3_CA"] = verify
    return found


def _of_spark(what: str, connection: Mapping[str, Any]) -> dict[str, str]:
    _check_type(what, connection, "spark")
    host, port = connection.get("host"), connection.get("port")
    if not host:
        raise SettingsError(f"{what}: it has no host, which is the master: local[2], or spark://HOST:PORT")
    # As the Spark provider of Airflow puts them together.
    return {"MILLRACE_SPARK_MASTER": f"{host}:{port}" if port else str(host)}


def _check_type(what: str, connection: Mapping[str, Any], wanted: str) -> None:
    if connection.get("conn_type") != wanted:
        raise SettingsError(
            f"{what}: the connection's type is {connection.get('conn_type')!r}, not {wanted!r}"
        )
