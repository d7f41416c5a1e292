"""What docs/quality.md shows is what there is, and nothing of it is heavy before it is used."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from millrace.quality.views import views_of
from millrace.settings import PROJECT_ROOT
from tests.unit.quality.builders import DATASET, suite

TEXT = (PROJECT_ROOT / "docs" / "quality.md").read_text()
MODULES = sorted(file.stem for file in (PROJECT_ROOT / "millrace" / "quality").glob("[a-z]*.py"))


def test_the_example_is_an_expectation_of_the_suite():
    (example,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    ours = {one.name: one.model_dump(exclude_defaults=True) for one in suite().expectations}
    assert json.loads(example) == ours["rentals_plausible"]


def test_every_view_is_described_with_its_columns():
    for name, view in views_of(DATASET).items():
        (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |")]
        if name != "rows":
            own = [column for column in view.columns if column not in DATASET.keys or name == "systems"]
            for column in own:
                assert column in line, f"{name}.{column}"


def test_great_expectations_is_not_imported_before_it_is_needed():
    code = "; ".join(f"import millrace.quality.{name}" for name in MODULES)
    code += "; import sys; print({'great_expectations', 'polars', 'pandas'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
