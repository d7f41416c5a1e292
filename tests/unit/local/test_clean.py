"""`millrace up` takes no directory that holds something else; `clean` removes state, keeps jars, and never anything
that is not a home."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.local.clean import clean
from millrace.local.errors import StackError
from millrace.local.home import make_home, only_one


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_JARS", str(tmp_path / "jars"))
    (tmp_path / "jars").mkdir()
    make_home(tmp_path)
    with only_one(tmp_path):
        (tmp_path / "kafka" / "data").mkdir(parents=True)
    return tmp_path


def test_state_goes_and_jars_stay(home: Path) -> None:
    clean(home)
    assert [path.name for path in home.iterdir()] == ["jars"]


def test_what_a_link_points_to_stays(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").write_text("")
    (home / "link").symlink_to(elsewhere)
    clean(home)
    assert (elsewhere / "precious").exists()


def test_a_directory_of_something_else_is_neither_taken_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()  # as /var has one
    (tmp_path / "thesis.txt").write_text("")
    before = tmp_path.stat().st_mode
    with pytest.raises(
        StackError, match=r"holds something else \(thesis\.txt\).* name one with MILLRACE_HOME"
    ):
        make_home(tmp_path)
    assert tmp_path.stat().st_mode == before
    with pytest.raises(StackError, match="does not look like a directory of Millrace"):
        clean(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_home_is_taken_again_also_after_an_up_that_was_broken_off(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    make_home(home)
    fresh = tmp_path_factory.mktemp("fresh")
    (fresh / "jars").mkdir()
    make_home(fresh)
    make_home(fresh)
    assert fresh.stat().st_mode & 0o777 == 0o700
