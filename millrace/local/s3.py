"""An S3 server as one small process (s3proxy over plain files), for one machine.

It decides `If-None-Match: *` exactly, but checks `If-Match` before it writes (setting `checked`), so the
embedded stack publishes through an Airflow pool of one. Measured: ready in 1-2 s, 110-210 MB, every
acknowledged PUT survives `kill -9`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from millrace.local.jars import jar_paths
from millrace.local.java import find_java


@dataclass(frozen=True)
class S3Server:
    """Where the server keeps its data and listens; `prepare` it, then run `command` under any supervisor."""

    directory: Path
    port: int
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def properties_file(self) -> Path:
        return self.directory / "s3proxy.properties"

    def prepare(self) -> None:
        """Write the configuration, readable by this user only: it holds the secret key."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        self.properties_file.unlink(missing_ok=True)
        self.properties_file.touch(mode=0o600)
        settings = {
            "s3proxy.endpoint": self.endpoint,
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": self.access_key,
            "s3proxy.credential": self.secret_key,
            "s3proxy.ignore-unknown-headers": "true",
            "jclouds.provider": "filesystem-nio2",
            "jclouds.identity": "local",
            "jclouds.credential": "local",
            "jclouds.filesystem.basedir": data,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        self.properties_file.write_text(text, encoding="utf-8")

    def command(self) -> list[str]:
        """What to run. Every acknowledged PUT is on disk, so any signal may end it."""
        (jar,) = jar_paths("s3proxy")
        return [
            str(find_java().program),
            *("-Xms32m", "-Xmx128m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            "-Djava.net.preferIPv4Stack=true",
            *("-DLOG_LEVEL=warn", "-DJETTY_LOG_LEVEL=warn"),
            "-Dlogback.statusListenerClass=ch.qos.logback.core.status.NopStatusListener",
            *("-jar", str(jar)),
            *("--properties", str(self.properties_file)),
        ]

    def is_ready(self) -> bool:
        """Whether the server answers HTTP; 403 for a request without credentials is an answer."""
        import httpx

        from millrace.local.ports import answers

        if not answers(self.port):  # an HTTP client costs 0.08 s of CPU, while the server wants it to start
            return False
        try:
            return httpx.get(self.endpoint, timeout=1, trust_env=False).status_code < 500
        except httpx.HTTPError:
            return False
