"""The code of every page in docs/recipes/, run as it stands: it prints what the page says that it prints."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.settings import PROJECT_ROOT

pytestmark = pytest.mark.stack
RECIPES = PROJECT_ROOT / "docs" / "recipes"
INDEX = RECIPES / "README.md"
PAGES = sorted(path for path in RECIPES.glob("*.md") if path != INDEX)


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(python|text)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_prints_what_it_says(page: Path, spark: SparkSession) -> None:
    code = "".join(text for kind, text in blocks(page) if kind == "python")
    said = "".join(text for kind, text in blocks(page) if kind == "text")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, page.name, "exec"), {"spark": spark, "__name__": "recipe"})
    assert printed.getvalue().strip() == said.strip()


def test_every_page_has_code_with_what_it_prints_and_nothing_else() -> None:
    for page in PAGES:
        assert [kind for kind, _ in blocks(page)] == ["python", "text"], page
        assert page.read_text().count("```") == 4, page


def test_the_index_knows_every_page() -> None:
    assert set(re.findall(r"\]\((.+?)\)", INDEX.read_text())) == {page.name for page in PAGES}
    ((_, set_up),) = blocks(INDEX)
    compile(set_up, INDEX.name, "exec")
