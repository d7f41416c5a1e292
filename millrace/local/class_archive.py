"""Spark's classes, read and checked once: an archive that lets a driver's JVM start in two thirds of the time.

Most of what a driver's JVM does in its first seconds is reading, checking and linking some 15,000 classes. Java's class
data sharing keeps the result in a file, 160 MB, that every later JVM maps into its memory (measured: 10.6 seconds of
CPU to the first micro-batch without it, 6.7 with it). The file fits one Java and one class path, to the size and time
of each jar, and a JVM that it does not fit ignores it without a word.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from millrace.local.jars import jar_paths
from millrace.settings import PROJECT_ROOT

WITHIN = 300.0
"""Seconds that making it may take; 15 on an idle machine."""
SILENT = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off")
"""Or the JVM would say on standard output why an archive does not fit."""


def archive_file() -> Path:
    """Where the archive for this Java and these jars belongs: in the virtual environment, and gone with it."""
    return _directory() / f"spark-classes-{_fingerprint()}.jsa"


def archive_options() -> list[str]:
    """What a driver's JVM is started with; nothing when there is no archive."""
    file = archive_file()
    return [f"-XX:SharedArchiveFile={file}", *SILENT] if file.exists() else []


def ensure_archive() -> bool | None:
    """Make the archive when it is missing; whether it was made, None when it cannot be (and nothing is lost)."""
    file = archive_file()
    if file.exists():
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=file.parent) as directory:
            made = Path(directory) / file.name
            done = subprocess.run(
                [sys.executable, "-m", "spark_apps.runtime.archive_training", str(made), directory],
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=WITHIN,
                check=False,
            )
            if done.returncode or not made.exists():
                return None
            for old in file.parent.glob("spark-classes-*.jsa"):
                old.unlink(missing_ok=True)  # a JVM that has it mapped keeps it
            made.rename(file)
    except (OSError, subprocess.SubprocessError):
        return None
    return True


def _directory() -> Path:
    return Path(sys.prefix) / "share" / "millrace"


def _java() -> Path:
    """The program that Spark will run; its version is not asked, which would cost every start 0.1 s."""
    home = os.environ.get("JAVA_HOME")
    found = Path(home) / "bin" / "java" if home else Path(shutil.which("java") or "java")
    return found.resolve()


def _fingerprint() -> str:
    """Of everything that an archive depends on."""
    spark = find_spec("pyspark")
    origin = Path(spark.origin).parent if spark and spark.origin else Path()
    jars = [*sorted((origin / "jars").glob("*.jar")), *jar_paths("spark")]
    java = _java()
    found = [str(java)]
    with suppress(OSError):
        found.append((java.parent.parent / "release").read_text(encoding="utf-8"))
    for jar in jars:
        stat = os.stat(jar)  # noqa: PTH116 - 300 of them at every start
        found.append(f"{jar} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]
