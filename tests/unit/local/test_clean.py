"""`millrace clean` removes state, keeps jars, and never anything that is not a home."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.local.clean import clean
from millrace.local.errors import StackError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_JARS", str(tmp_path / "jars"))
    (tmp_path / "jars").mkdir()
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "settings.json").write_text("{}")
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


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(StackError, match="does not look like a directory of Millrace"):
        clean(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
