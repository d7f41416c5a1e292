import sys
from pathlib import Path

import pytest

from millrace.local.called import command_name

OWN = Path(sys.executable).with_name("millrace")


def test_on_the_path_it_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(OWN.parent))
    assert command_name() == "millrace"


def test_elsewhere_it_is_called_by_the_shortest_path_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(OWN.parent.parent)
    assert command_name() == f"{OWN.parent.name}/millrace"
    assert Path(command_name()).exists()
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / command_name()).resolve() == OWN.resolve()
