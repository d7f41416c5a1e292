"""The environment that every process of the stack gets: the only way by which secrets reach them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from millrace.local.airflow_config import airflow_environment
from millrace.local.choices import FEED, STREAMS
from millrace.local.credentials import ADMIN_PASSWORD
from millrace.local.home import ANOTHER_DEPLOYMENT
from millrace.local.jars import jar_root
from millrace.local.java import Java
from millrace.local.marker import MARKER
from millrace.loopback import no_proxy
from millrace.settings import PROJECT_ROOT, Settings

_FOREIGN = (*ANOTHER_DEPLOYMENT, FEED, STREAMS, "AIRFLOW", "SPARK_", "PYSPARK_", "SUPERVISOR_", "PYTHONHOME")


def stack_environment(
    settings: Settings, secrets: Mapping[str, str], java: Java, env: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The caller's environment, without what would change the stack behind its back, and the stack's own.

    Feeds get their keys this way too, from the shell that runs `millrace up`.
    """
    env = os.environ if env is None else env
    kept = {name: value for name, value in env.items() if not name.startswith(_FOREIGN)}
    programs = Path(sys.executable).parent
    direct = no_proxy(kept)
    own = {
        MARKER: str(settings.home),
        "SPT_NOENV": "1",  # see millrace.local.marker
        "MILLRACE_HOME": str(settings.home),
        "MILLRACE_CATALOG": str(settings.catalog_dir),
        "MILLRACE_KAFKA": settings.kafka,
        "MILLRACE_S3_ENDPOINT": settings.s3_endpoint or "",
        "MILLRACE_S3_REGION": settings.s3_region,
        "MILLRACE_S3_IF_MATCH": settings.if_match,
        "MILLRACE_BUCKET": settings.bucket,
        "MILLRACE_PREFIX": settings.prefix,
        "MILLRACE_JARS": str(jar_root()),
        **{f"MILLRACE_PORT_{name.upper()}": str(port) for name, port in vars(settings.ports).items()},
        "AWS_REGION": settings.s3_region,
        # Never an account of the user's own: the SDK must not look for one in files or on the network.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.pathsep.join([str(programs), str(java.program.parent), kept.get("PATH", os.defpath)]),
        "PYTHONPATH": str(PROJECT_ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        # glibc gives every thread an arena of 64 MB; two are enough for these programs.
        "MALLOC_ARENA_MAX": "2",
        "NO_PROXY": direct,
        "no_proxy": direct,
        "TZ": "UTC",
        **airflow_environment(settings),
    }
    hidden = {name: value for name, value in secrets.items() if name != ADMIN_PASSWORD}
    return {**kept, **own, **hidden}
