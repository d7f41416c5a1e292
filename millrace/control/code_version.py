"""Which code a stream runs: a mark that changes when what its driver imports changes, and with nothing else.

Covered are the modules of `millrace` and `spark_apps` that the stream's app reaches by its imports, those inside
functions too, and the files beside them that are read at run time. So a change of a feed, of another app's transform,
of a DAG or of a text makes no stream outdated. Installed packages are not covered: they change with `make install`,
after which streams are to be redeployed by hand.
"""

from __future__ import annotations

import ast
import hashlib
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from millrace.settings import PROJECT_ROOT

PACKAGES = ("millrace", "spark_apps")
ALWAYS = ("spark_apps.runtime.stream_driver",)
"""Imported by every app, but by name only when it runs."""
READ_AT_RUN_TIME = ("spark_apps/runtime/log4j2.properties", "millrace/local/jars.lock.json")
LENGTH = 12

_one_at_a_time = threading.Lock()
"""Before Python 3.13, `ast.parse` in two threads at once may end in a SystemError in both: two streams of a shared
driver that began at the same moment did so."""


def code_version(app: str, root: Path = PROJECT_ROOT) -> str | None:
    """Such as '0.1.0+3f2a91c0d4e5'; None when there is no such app below `root`, or its code cannot be parsed."""
    try:
        files = code_files(app, root)
    except (OSError, SyntaxError, ValueError):
        return None
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return f"{_package_version()}+{digest.hexdigest()[:LENGTH]}"


def code_files(app: str, root: Path = PROJECT_ROOT) -> list[str]:
    """The files that an app's version covers, relative to `root`, sorted.

    Raises FileNotFoundError when there is no such app, SyntaxError or ValueError for code that cannot be parsed.
    """
    waiting = [f"spark_apps.{app}", *ALWAYS]
    if not (root / "spark_apps" / f"{app}.py").is_file():
        raise FileNotFoundError(root / "spark_apps" / f"{app}.py")
    seen: set[str] = set()
    files = {name for name in READ_AT_RUN_TIME if (root / name).is_file()}
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        path = _file_of(module, root)
        if path is None:  # a name in a module rather than a module
            continue
        files.add(str(path.relative_to(root)))
        waiting += _imports(path.read_bytes())
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return sorted(files)


def _file_of(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(source: bytes) -> tuple[str, ...]:
    """The project's modules that a module imports when it runs, and the names it takes from them."""
    found: list[str] = []
    with _one_at_a_time:
        tree = ast.parse(source)
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return tuple(name for name in found if name.split(".")[0] in PACKAGES)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING:`, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _executed(node)


@cache
def _package_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("millrace")
    except PackageNotFoundError:
        return "0"
