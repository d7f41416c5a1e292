"""What this machine must have: Python and its packages, Java, the jars, a catalog, a place, a stream host."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata

from millrace.catalog import Catalog, CatalogError, load_catalog
from millrace.control.process import LauncherError
from millrace.doctor.finding import Finding, error, fine, warning
from millrace.local import checks, jars
from millrace.local.errors import StackError
from millrace.local.java import find_java
from millrace.settings import Settings

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
SAME_VERSION = ("pyspark", "pyspark-client")
"""They write the same files, and the one that was installed last wins."""


def look_at_python() -> Iterator[Finding]:
    """The interpreter, and whether the packages are those that Millrace asks for."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        yield error(
            "Python",
            f"{version} at {sys.executable}",
            "Millrace and Airflow 3.3 need Python 3.11 to 3.14",
        )
    problems = list(_wrong_packages())
    if problems:
        yield error(
            "Python",
            f"packages are not as Millrace needs them: {'; '.join(problems[:5])}",
            "install the locked ones: `make install`, or `pip install --require-hashes -r requirements.txt`",
        )
    else:
        yield fine("Python", f"{version}, packages as required")


def _wrong_packages() -> Iterator[str]:
    try:
        required = metadata.requires("millrace") or []
    except metadata.PackageNotFoundError:
        return  # run from a source tree that is not installed: what is imported is what is there
    from packaging.requirements import Requirement

    for text in required:
        wanted = Requirement(re.sub(r"\s+#.*$", "", text))
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield f"{wanted.name} is missing"
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name} is {found}, not {wanted.specifier}"
    versions = {_version(name) for name in SAME_VERSION} - {None}
    if len(versions) > 1:
        yield f"{' and '.join(SAME_VERSION)} differ"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def look_at_java() -> Finding:
    """A Java that Spark can use."""
    try:
        java = find_java()
    except StackError as problem:
        says, _, do = str(problem).partition("; ")
        return error("Java", says, do or "install Java 17 or newer")
    return fine("Java", f"{java.version} at {java.program}")


def look_at_jars() -> Finding:
    """Every locked jar, by its content."""
    try:
        wanted = jars.read_lock()
    except StackError as problem:
        return error("Jars", str(problem), "install Millrace anew")
    try:
        spark = jars.jar_paths("spark")
    except StackError as problem:
        return error(
            "Jars", str(problem), "`millrace install` fetches them; MILLRACE_JARS says where they are"
        )
    bad = [path.name for path in spark if jars.sha256(path) != wanted[f"spark/{path.name}"]]
    if bad:
        return error(
            "Jars",
            f"{bad[0]} is not what the lock says",
            f"delete {spark[0].parent.parent} and run `millrace install`",
        )
    return fine("Jars", f"{len(wanted)} there and verified in {jars.jar_root()}")


def read_catalog(settings: Settings) -> tuple[Catalog | None, Finding]:
    """The catalog, if it can be used."""
    try:
        catalog = load_catalog(settings.catalog_dir)
    except CatalogError as problem:
        return None, error("Catalog", str(problem), f"mend it in {settings.catalog_dir} (MILLRACE_CATALOG)")
    return catalog, fine(
        "Catalog",
        f"{len(catalog.streams)} streams, {len(catalog.datasets)} datasets in {settings.catalog_dir}",
    )


def look_at_home(settings: Settings) -> Iterator[Finding]:
    """The place for checkpoints and logs, and the host that runs the drivers."""
    try:
        checks.check_disk(settings.home)
    except StackError as problem:
        says, _, do = str(problem).partition("; ")
        yield error("Home", says, do)
    else:
        yield fine("Home", f"{settings.home} has room")
    yield _stream_host(settings)


def _stream_host(settings: Settings) -> Finding:
    from millrace.control.launcher import StreamHost

    try:
        states = StreamHost.of(settings).states()
    except LauncherError as problem:
        return error(
            "Stream host",
            str(problem).partition(";")[0],
            "start it with `millrace host run` (the embedded stack: `millrace up`), as the user and with the "
            "MILLRACE_HOME of Airflow's scheduler, which reaches it through a socket in there (in containers: `docker "
            "compose logs streamhost`, and the MILLRACE_STREAMHOST settings of both)",
        )
    running = sum(info.pid is not None for info in states.values())
    if not states:
        return warning(
            "Stream host", "it knows no stream", "restart it: its catalog was empty when it started"
        )
    return fine("Stream host", f"it answers; drivers that run: {running}")
