"""What a new stream is made of, planned and checked before anything is written; nothing is ever overwritten."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

from millrace.catalog import CatalogError, load_catalog

TEMPLATES = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z][a-z0-9_]{1,29}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NAMES = "write 2 to 30 lower-case letters, digits and underscores, a letter first, and no word of Python"
TAKEN_COLUMNS = ("at", "window_start", "window_end", "version", "hour")
CATALOG_FILES = ("streams.yaml", "topics.yaml", "datasets.yaml")


class ScaffoldError(ValueError):
    """The stream cannot be begun like this; the message says why and what would be right."""


@dataclass(frozen=True)
class NewStream:
    """`files`: path to content, all of them new. `entries`: catalog file to the text to be added at its end."""

    name: str
    topic: str
    dataset: str
    files: dict[Path, str]
    entries: dict[Path, str]


def plan_stream(
    root: Path,
    catalog_dir: Path,
    name: str,
    *,
    topic: str | None = None,
    key: str = "name",
    count: str = "records",
    total: str = "amount",
) -> NewStream:
    """A stream in the project tree at `root` that counts records, and adds up one field of them, by a key and hour.

    Raises ScaffoldError, and CatalogError for a catalog that is wrong.
    """
    topic = topic or name
    dataset = f"{name}_hourly"
    catalog = load_catalog(catalog_dir)
    if not _is_name(name):
        raise ScaffoldError(f"{name!r} cannot be the name of a stream: {_NAMES}")
    if not _TOPIC.fullmatch(topic):
        raise ScaffoldError(f"{topic!r} is not the name of a Kafka topic")
    for column in (key, count, total):
        if not _is_name(column) or column in TAKEN_COLUMNS:
            raise ScaffoldError(
                f"{column!r} cannot be the name of a column: {_NAMES}; and not {', '.join(TAKEN_COLUMNS)}"
            )
    if len({key, count, total}) < 3:
        raise ScaffoldError(f"the columns {key}, {count} and {total} must have different names")
    for what, known in ((name, catalog.streams), (dataset, catalog.datasets)):
        if what in known:
            raise ScaffoldError(f"{what!r} is in the catalog already; choose another name")
    words = {"name": name, "topic": topic, "dataset": dataset, "key": key, "count": count, "sum": total}
    files = {
        root / "spark_apps" / f"{name}.py": _filled("app.py", words),
        root / "spark_apps" / "transforms" / f"{name}.py": _filled("transform.py", words),
        root / "expectations" / f"{dataset}.json": _filled("expectations.json", words),
        root / "tests" / "unit" / "transforms" / f"test_{name}.py": _filled("test.py", words),
    }
    taken = [path for path in files if path.exists() or path.with_suffix("").exists()]
    if taken:
        raise ScaffoldError(f"{taken[0].relative_to(root)} is there already; choose another name")
    entries = {catalog_dir / file: _filled(file, words) for file in CATALOG_FILES}
    if topic in catalog.topics:
        del entries[catalog_dir / "topics.yaml"]
    return NewStream(name, topic, dataset, files, entries)


def write_stream(new: NewStream) -> list[Path]:
    """Write it; returns what was written or added to. Raises ScaffoldError and CatalogError, with nothing written."""
    texts = {path: _added(path.read_text(encoding="utf-8"), entry) for path, entry in new.entries.items()}
    _check(texts)
    made: list[Path] = []
    try:
        for path, content in new.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(content)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise ScaffoldError(f"nothing was written: {error}") from None
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return [*made, *texts]


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and not keyword.iskeyword(text)


def _check(texts: dict[Path, str]) -> None:
    """Raises CatalogError when the catalog would not be one afterwards."""
    (directory,) = {path.parent for path in texts}
    with tempfile.TemporaryDirectory() as copy:
        for path in directory.glob("*.yaml"):
            shutil.copy(path, copy)
        for path, text in texts.items():
            (Path(copy) / path.name).write_text(text, encoding="utf-8")
        try:
            load_catalog(Path(copy))
        except CatalogError as error:
            raise CatalogError(f"nothing was written: {str(error).replace(copy, str(directory))}") from None


def _added(text: str, entry: str) -> str:
    """An entry at the end: as text, so that comments and order stay as they are."""
    return f"{text.rstrip()}\n\n{entry}" if text.strip() else entry


def _filled(template: str, words: dict[str, str]) -> str:
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(words)
