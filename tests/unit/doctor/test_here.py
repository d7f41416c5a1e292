"""What this machine lacks is told, with what to do."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from millrace import settings
from millrace.doctor import here
from millrace.local import checks


@pytest.fixture
def found(tmp_path: Path) -> settings.Settings:
    return settings.load({"MILLRACE_HOME": str(tmp_path / "home")})


def test_this_installation_is_as_required() -> None:
    assert [one.level for one in here.look_at_python()] == ["fine"]


def test_packages_of_other_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        return {"pyspark-client": "4.1.0", "pandas": "3.0.1"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    (finding,) = here.look_at_python()
    assert finding.level == "error"
    for words in ("pyspark-client is 4.1.0", "pandas is 3.0.1, not <3", "pyspark and pyspark-client differ"):
        assert words in finding.says
    assert "--require-hashes" in finding.do


def test_a_java_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    finding = here.look_at_java()
    assert (finding.level, "JAVA_HOME=/nowhere" in finding.says) == ("error", True)
    assert "install" in finding.do


def test_jars_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_JARS", str(tmp_path))
    finding = here.look_at_jars()
    assert (finding.level, str(tmp_path) in finding.says) == ("error", True)
    assert "millrace install" in finding.do


def test_a_jar_whose_content_has_changed_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "spark" / "a.jar"
    changed.parent.mkdir()
    changed.write_bytes(b"something else")
    monkeypatch.setattr(here.jars, "jar_paths", lambda group: [changed])
    monkeypatch.setattr(here.jars, "read_lock", lambda: {"spark/a.jar": "0" * 64})
    finding = here.look_at_jars()
    assert (finding.level, finding.says) == ("error", "a.jar is not what the lock says")


def test_a_catalog_with_a_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "streams.yaml").write_text("wrong: [")
    chosen = settings.load({"MILLRACE_HOME": str(tmp_path), "MILLRACE_CATALOG": str(tmp_path)})
    catalog, finding = here.read_catalog(chosen)
    assert catalog is None
    assert finding.level == "error"
    assert "MILLRACE_CATALOG" in finding.do


def test_a_full_disk_and_a_host_that_does_not_answer_are_errors(
    found: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1})())
    disk, host = here.look_at_home(found)
    assert (disk.level, "too little disk" in disk.says) == ("error", True)
    assert (host.level, "does not answer" in host.says) == ("error", True)
    assert "millrace host run" in host.do
