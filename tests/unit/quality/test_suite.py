"""What would make an expectation silently not count is refused when the suite is loaded."""

from __future__ import annotations

import json

import pytest

from millrace.catalog import load_catalog
from millrace.quality import great
from millrace.quality.located_json import DuplicateKey, line_of, loads
from millrace.quality.suite import EXPECTATIONS_DIR, SuiteError, load_suite, suite_file
from millrace.settings import PROJECT_ROOT

DATASETS = load_catalog(PROJECT_ROOT / "catalog").datasets
DATASET = DATASETS["hourly_summary"]
TEXT = suite_file("hourly_summary").read_text()


def line(text: str, fragment: str) -> int:
    return text[: text.index(fragment)].count("\n") + 1


def test_every_suite_of_the_project_is_of_a_dataset_and_loads_whole():
    for file in EXPECTATIONS_DIR.glob("*.json"):
        suite = load_suite(file, DATASETS[file.stem])
        assert [one.name for one in suite.expectations] == [
            one["name"] for one in json.loads(file.read_text())["expectations"]
        ]


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (
            "expect_compound_columns_to_be",
            "expect_compound_column_to_be",
            "did you mean 'expect_compound_columns_",
        ),
        ('"severity": "warning"', '"severity": "warnign"', "'warnign' is none of 'critical' or 'warning'"),
        ('"column": "gaps"', '"column": "gasp"', "has no column 'gasp'; did you mean 'gaps'"),
        ('["system_id", "station_id"]', '["system_id", "station"]', "did you mean 'station_id'"),
        ('"column_B": "catalog_type"', '"column_B": "catalogtype"', "did you mean 'catalog_type'"),
        ('"strict_max"', '"strictmax"', "takes no 'strictmax'; did you mean 'strict_max'"),
        ('"strict_max": true', '"strict_max": "maybe"', "strict_max: value could not be parsed"),
        ('"view": "systems"', '"view": "system"', "no view 'system'; did you mean 'systems'"),
        ('"hour_end"', '"hourend"', "no parameter 'hourend'; did you mean 'hour_end'"),
        ('"says": "One row', '"sais": "One row', "sais is not a key that is known here; did you mean 'says'"),
        ('"name": "has_rows"', '"name": "nothing_missing"', "'nothing_missing' is there twice"),
        ('"view": "columns"', '"view": "columns", "view": "rows"', "the key 'view' is there twice"),
        (
            '"min_value": 1, "max_value": 500000',
            '"min_value": 9, "max_value": 5',
            "must be less than or equal",
        ),
        ('"min_value": 1, "max_value": 500000', '"min_value": 1, "max_value": 500000,', "not JSON"),
        ('"dataset": "hourly_summary"', '"dataset": "hourly"', "a suite of dataset 'hourly'"),
    ],
)
def test_a_mistake_is_refused_with_file_line_and_what_would_be_right(tmp_path, right, wrong, words):
    file = tmp_path / "hourly_summary.json"
    file.write_text(TEXT.replace(right, wrong, 1))
    with pytest.raises(SuiteError) as refused:
        load_suite(file, DATASET)
    assert f"{file}, line {line(TEXT, right)}: " in str(refused.value)
    assert words in str(refused.value)


def test_an_empty_suite_is_refused(tmp_path):
    file = tmp_path / "hourly_summary.json"
    file.write_text('{"dataset": "hourly_summary", "expectations": []}')
    with pytest.raises(SuiteError, match="line 1: the suite is empty"):
        load_suite(file, DATASET)


def test_a_missing_key_is_named(tmp_path):
    file = tmp_path / "hourly_summary.json"
    file.write_text('{"dataset": "hourly_summary"}')
    with pytest.raises(SuiteError, match="line 1: expectations is missing"):
        load_suite(file, DATASET)


def test_a_missing_suite_says_which_there_are(tmp_path):
    with pytest.raises(SuiteError, match=r"is missing; suites that are there: .*hourly_summary"):
        load_suite(EXPECTATIONS_DIR / "hourly.json", DATASET)


def test_what_great_expectations_drops_is_noticed(monkeypatch):
    suite = load_suite(suite_file("hourly_summary"), DATASET)
    monkeypatch.setattr(great, "_gx_suite", lambda expectations, real=great._gx_suite: real(expectations[1:]))
    with pytest.raises(great.SuiteDropped, match="kept 18 of 19"):
        great.assert_nothing_was_dropped(suite)


def test_a_change_of_the_suite_changes_its_digest(tmp_path):
    file = tmp_path / "hourly_summary.json"
    file.write_text(TEXT.replace("1000", "999"))
    assert load_suite(file, DATASET).digest != load_suite(suite_file("hourly_summary"), DATASET).digest


def test_lines_are_those_of_the_values():
    document = loads('{\n "a": [\n  {"b": 1,\n   "c":\n    "x"}\n ]\n}')
    assert document == {"a": [{"b": 1, "c": "x"}]}
    assert [line_of(document, at) for at in (("a",), ("a", 0), ("a", 0, "b"), ("a", 0, "c"))] == [2, 3, 3, 5]
    assert line_of(document, ("a", 0, "missing")) == 3
    with pytest.raises(DuplicateKey) as twice:
        loads('{"a": 1,\n"a": 2}')
    assert twice.value.line == 2
