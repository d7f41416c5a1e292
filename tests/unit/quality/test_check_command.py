"""`millrace check` on files: its exit status, and what it shows."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from tests.unit.quality.builders import good

PUBLISHED = "2026/03/04/08/part-0.parquet"


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))

    def check(rows, name: str = PUBLISHED, *more: str):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(file)
        return CliRunner().invoke(app, ["check", str(file), "--suite", "hourly_summary", *more])

    return check


def test_good_rows_pass(check):
    done = check(good())
    assert done.exit_code == 0, done.output
    assert "17 passed, 0 critical failed, 0 warnings, 2 not evaluated" in done.output


def test_bad_rows_fail_and_are_shown(check):
    done = check(good(bikes_at_end=-3))
    assert done.exit_code == 1
    assert "system_id=city, station_id=s0, bikes_at_end=-3" in done.output
    assert "... and 5 more" in done.output


def test_a_warning_alone_is_shown_and_passes(check):
    done = check(good(total_rental=30))
    assert done.exit_code == 0
    assert "0 critical failed, 1 warnings" in done.output
    assert "imbalance" in done.output


def test_the_hour_may_be_told_or_stay_unknown(check):
    assert check(good(), "rows.parquet", "--hour", "2026-03-04T08").exit_code == 0
    assert check(good(), "rows.parquet", "--hour", "2026-03-04T09").exit_code == 1
    unknown = check(good(), "rows.parquet")
    assert (unknown.exit_code, "hour not known" in unknown.output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hour", "noon"], "write a UTC hour such as"),
        (["--hour", "2026-03-04T08:30"], "not a whole UTC hour"),
        (["--suite", "hourly_sumary"], "did you mean 'hourly_summary'"),
    ],
)
def test_what_cannot_be_checked_has_a_status_of_its_own(check, arguments, words):
    done = check(good(), PUBLISHED, *arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_a_file_that_is_no_parquet_cannot_be_checked(tmp_path):
    (tmp_path / "rows.parquet").write_text("no")
    done = CliRunner().invoke(app, ["check", str(tmp_path / "rows.parquet"), "--suite", "hourly_summary"])
    assert done.exit_code == 2
    assert "not a Parquet file" in done.output
