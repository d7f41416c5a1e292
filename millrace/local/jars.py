"""The jars of Spark's connectors to Kafka and S3, of Kafka and of the S3 server: fetched once, checked against a lock.

`jars.lock.json` names every file and its sha256. A set of jars lives in a directory named after that lock,
so that two versions of the project may share one jar directory (MILLRACE_JARS) and never disturb each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from millrace.local import ivy
from millrace.local.errors import StackError
from millrace.settings import IS_SOURCE_TREE, PROJECT_ROOT

Group = Literal["spark", "kafka", "s3proxy", "s3a"]
GROUPS: tuple[Group, ...] = ("spark", "kafka", "s3proxy", "s3a")
LOCK = Path(__file__).with_name("jars.lock.json")
LOCKED_IVY_FILE = Path(__file__).with_name("jars.lock.xml")


def jar_root() -> Path:
    """Where jars are kept: MILLRACE_JARS, or `.millrace/jars` of the source tree, or `jars` in MILLRACE_HOME."""
    chosen = os.environ.get("MILLRACE_JARS")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if IS_SOURCE_TREE:
        return PROJECT_ROOT / ".millrace" / "jars"
    home = os.environ.get("MILLRACE_HOME")
    if not home:
        raise StackError("neither MILLRACE_JARS nor MILLRACE_HOME is set: one must say where the jars are")
    return Path(home).expanduser().absolute() / "jars"


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """File ("group/name.jar") to sha256. Raises StackError when the lock is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StackError(f"the lock of jars {path} cannot be read ({error}): restore it from git") from None
    if not (isinstance(content, dict) and content and all(isinstance(v, str) for v in content.values())):
        raise StackError(f"the lock of jars {path} holds no list of files and sha256: restore it from git")
    return content


def jar_paths(group: Group) -> list[Path]:
    """The jars of one group, already fetched. Raises StackError when they are not (run `make install`)."""
    wanted = read_lock()
    directory = _directory(wanted)
    if not _known_good(directory, wanted):
        raise StackError(f"the jars are not in {jar_root()} yet: run `make install`")
    return [directory / name for name in sorted(wanted) if name.startswith(f"{group}/")]


def ensure_jars() -> bool:
    """Fetch what is missing; True when something was fetched. Instant when all is there.

    Raises StackError: no Java, registry unreachable, or a file whose sha256 is not the locked one.
    """
    wanted = read_lock()
    directory = _directory(wanted)
    if _known_good(directory, wanted):
        return False
    with _exclusive(jar_root()):
        if _known_good(directory, wanted):
            return False
        fetched = bool(_wrong(directory, wanted))
        if fetched:
            _fetch(directory, wanted)
        _remember(directory, wanted)
    return fetched


def _directory(wanted: dict[str, str]) -> Path:
    text = json.dumps(wanted, sort_keys=True)
    return jar_root() / hashlib.sha256(text.encode()).hexdigest()[:12]


def _fetch(directory: Path, wanted: dict[str, str]) -> None:
    """Download into a directory of its own and move it into place only when every file is right."""
    incoming = directory.with_name(f"{directory.name}.incoming")
    cache = jar_root() / "download-cache"
    shutil.rmtree(incoming, ignore_errors=True)
    ivy.retrieve(LOCKED_IVY_FILE, GROUPS, incoming, cache, transitive=False)
    if wrong := _wrong(incoming, wanted):
        shutil.rmtree(cache, ignore_errors=True)  # or the bad file would be taken from there for ever
        raise StackError(
            f"{len(wrong)} jar(s) are not what the lock says, first {wrong[0]}: the registry or mirror "
            "served something else or only a part; try again, and if it stays, do not trust that mirror"
        )
    unlisted = sorted(str(p.relative_to(incoming)) for p in incoming.glob("*/*") if _name(p) not in wanted)
    if unlisted:
        raise StackError(f"Ivy fetched a jar that is not in the lock: {unlisted[0]}; run `make lock`")
    shutil.rmtree(directory, ignore_errors=True)
    incoming.rename(directory)
    shutil.rmtree(cache, ignore_errors=True)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _wrong(directory: Path, wanted: dict[str, str]) -> list[str]:
    """Files that are missing or whose content is not the locked one."""
    return [name for name, digest in wanted.items() if sha256(directory / name) != digest]


def sha256(path: Path) -> str | None:
    """The hex digest of a file, None when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _remember(directory: Path, wanted: dict[str, str]) -> None:
    """Note size and time of the verified files, so that the next look need not read 90 MB again."""
    (directory / "verified.json").write_text(json.dumps(_fingerprints(directory, wanted)), encoding="utf-8")


def _known_good(directory: Path, wanted: dict[str, str]) -> bool:
    try:
        noted = json.loads((directory / "verified.json").read_text(encoding="utf-8"))
        return bool(noted == _fingerprints(directory, wanted))
    except (OSError, ValueError):
        return False


def _fingerprints(directory: Path, wanted: dict[str, str]) -> dict[str, list[int]]:
    stats = {name: (directory / name).stat() for name in wanted}
    return {name: [found.st_size, found.st_mtime_ns] for name, found in stats.items()}


@contextlib.contextmanager
def _exclusive(root: Path) -> Iterator[None]:
    """Two `make install` at once must not fetch into each other."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
