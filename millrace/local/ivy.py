"""Running the Ivy that PySpark ships: the one downloader of jars that needs no further program.

A mirror of Maven's central registry may be set with MILLRACE_MAVEN_MIRROR (the address of its root), and
MILLRACE_MAVEN_USER / MILLRACE_MAVEN_PASSWORD when it asks for them. HTTPS_PROXY is respected.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

from millrace.local.errors import StackError
from millrace.local.java import find_java

RETRIEVE_PATTERN = "[conf]/[artifact]-[revision](-[classifier]).[ext]"


def ivy_jar() -> Path:
    """PySpark's own Ivy. Raises StackError when PySpark is not installed."""
    spec = find_spec("pyspark")
    jars = sorted((Path(spec.origin).parent / "jars").glob("ivy-*.jar")) if spec and spec.origin else []
    if not jars:
        raise StackError("PySpark is not installed in this Python environment: run `make install`")
    return jars[-1]


def retrieve(ivy_file: Path, groups: Sequence[str], target: Path, cache: Path, *, transitive: bool) -> None:
    """Download what `ivy_file` names into `target`/<group>/.

    `transitive` says whether the dependencies of what is named are looked up too (to make a lock) or
    nothing but what is named is fetched (from a lock). Raises StackError in one line.
    """
    cache.mkdir(parents=True, exist_ok=True)
    settings = cache / "ivysettings.xml"
    settings.touch(mode=0o600)  # it may hold a password
    settings.write_text(_settings(os.environ, cache, read_poms=transitive), encoding="utf-8")
    command = [
        str(find_java().program),
        *_proxy_options(os.environ),
        *("-jar", str(ivy_jar())),
        "-warn",
        *("-settings", str(settings)),
        *("-ivy", str(ivy_file)),
        *("-confs", *groups),
        *("-types", "jar", "bundle"),
        *("-retrieve", str(target / RETRIEVE_PATTERN)),
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        settings.unlink(missing_ok=True)
    output = answer.stdout + answer.stderr
    if answer.returncode or "UNRESOLVED DEPENDENCIES" in output:
        log = cache / "ivy.log"
        log.write_text(output, encoding="utf-8")
        raise StackError(f"{explain(output, os.environ)} (Ivy's own words: {log})")


def explain(output: str, env: Mapping[str, str]) -> str:
    """Why Ivy failed, in one line, from what it printed."""
    unreachable = ("UnknownHostException", "Connection refused", "Connect timed out", "ConnectException")
    where = env.get("MILLRACE_MAVEN_MIRROR") or "Maven's central registry"
    if any(sign in output for sign in ("No space left on device", "Disk quota exceeded")):
        return f"no room on the disk for the jars from {where}: free 0.3 GB, or choose another place with MILLRACE_JARS"
    if any(sign in output for sign in (*unreachable, "Host ", "SocketTimeoutException")):
        return (
            f"cannot reach {where} to fetch jars: check the network (HTTPS_PROXY is respected), "
            "or set MILLRACE_MAVEN_MIRROR to the root address of a mirror"
        )
    if "PKIX" in output or "SSLHandshakeException" in output:
        return f"Java does not trust the certificate of {where}: add your proxy's to its trust store"
    if "401" in output or "403" in output:
        return f"{where} refuses access: set MILLRACE_MAVEN_USER and MILLRACE_MAVEN_PASSWORD"
    missing = [line.split("::")[1].strip() for line in output.splitlines() if line.count("::") >= 2]
    named = f": {', '.join(sorted(set(missing))[:3])}" if missing else ""
    return f"{where} does not have every jar that the lock names{named}"


def _settings(env: Mapping[str, str], cache: Path, *, read_poms: bool) -> str:
    mirror = env.get("MILLRACE_MAVEN_MIRROR", "").rstrip("/")
    root = f" root={quoteattr(mirror + '/')}" if mirror else ""
    credentials = ""
    if mirror and env.get("MILLRACE_MAVEN_USER"):
        credentials = (
            f"<credentials host={quoteattr(urlsplit(mirror).hostname or '')} "
            f"username={quoteattr(env['MILLRACE_MAVEN_USER'])} "
            f"passwd={quoteattr(env.get('MILLRACE_MAVEN_PASSWORD', ''))}/>"
        )
    return f"""<ivysettings>
  <settings defaultResolver="maven"/>{credentials}
  <caches defaultCacheDir={quoteattr(str(cache))}/>
  <resolvers>
    <ibiblio name="maven" m2compatible="true" usepoms="{str(read_poms).lower()}" checksums="sha1"{root}/>
  </resolvers>
</ivysettings>
"""


def _proxy_options(env: Mapping[str, str]) -> list[str]:
    proxy = env.get("HTTPS_PROXY") or env.get("https_proxy")
    if not proxy:
        return []
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return [f"-Dhttps.proxyHost={parts.hostname}", f"-Dhttps.proxyPort={parts.port or 3128}"]
