"""The `millrace` command as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from millrace.local.jars import jar_root
from millrace.settings import Settings


def millrace(
    settings: Settings, catalog: Path, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """`millrace` with these arguments, against the store of these settings; `more`: of its environment."""
    return subprocess.run(
        [sys.executable, "-m", "millrace", *arguments],
        env=environment(settings, catalog) | more,
        capture_output=True,
        text=True,
        timeout=60,
    )


def environment(settings: Settings, catalog: Path) -> dict[str, str]:
    """This process's environment, with nothing of a stack of the user's own, and the store of the settings."""
    own = {
        "MILLRACE_HOME": str(settings.home),
        "MILLRACE_CATALOG": str(catalog),
        "MILLRACE_JARS": str(jar_root()),
        "MILLRACE_S3_ENDPOINT": str(settings.s3_endpoint),
        "MILLRACE_BUCKET": settings.bucket,
        "MILLRACE_S3_IF_MATCH": settings.if_match,
        "MILLRACE_PREFIX": settings.prefix,
        "AWS_ACCESS_KEY_ID": str(settings.access_key),
        "AWS_SECRET_ACCESS_KEY": str(settings.secret_key),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MILLRACE_"))}
    return kept | own
