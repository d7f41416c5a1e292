"""Jars are what the lock says or nothing, and failures of the download are told apart."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from millrace.local import ivy, jars
from millrace.local.errors import StackError

CONTENT = b"a jar"
GOOD = {"spark/one-1.0.jar": hashlib.sha256(CONTENT).hexdigest()}


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "jars.lock.json"
    path.write_text(json.dumps(GOOD))
    monkeypatch.setattr(jars, "LOCK", path)
    monkeypatch.setattr(jars.read_lock, "__defaults__", (path,))
    monkeypatch.setenv("MILLRACE_JARS", str(tmp_path / "jars"))
    return path


class Registry:
    """Stands in for Ivy: puts files where it would."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked = 0

    def __call__(self, _: Path, __: object, target: Path, cache: Path, *, transitive: bool) -> None:
        self.asked += 1
        for name, content in self.files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)


def test_jars_are_fetched_once_and_then_known(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry({"spark/one-1.0.jar": CONTENT})
    monkeypatch.setattr(ivy, "retrieve", registry)
    assert jars.ensure_jars() is True
    assert jars.ensure_jars() is False
    assert registry.asked == 1
    (path,) = jars.jar_paths("spark")
    assert path.read_bytes() == CONTENT


def test_a_jar_that_is_not_the_locked_one_is_refused(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivy, "retrieve", Registry({"spark/one-1.0.jar": b"something else"}))
    with pytest.raises(StackError, match=r"not what the lock says, first spark/one-1\.0\.jar"):
        jars.ensure_jars()
    with pytest.raises(StackError, match=r"not in .* yet: run `make install`"):
        jars.jar_paths("spark")


def test_a_jar_that_is_not_in_the_lock_is_refused(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ivy, "retrieve", Registry({"spark/one-1.0.jar": CONTENT, "spark/uninvited.jar": b"x"})
    )
    with pytest.raises(StackError, match=r"not in the lock: spark/uninvited\.jar"):
        jars.ensure_jars()


def test_a_jar_that_was_changed_later_is_fetched_again(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry({"spark/one-1.0.jar": CONTENT})
    monkeypatch.setattr(ivy, "retrieve", registry)
    jars.ensure_jars()
    jars.jar_paths("spark")[0].write_bytes(b"damaged on disk")
    assert jars.ensure_jars() is True
    assert registry.asked == 2
    assert jars.jar_paths("spark")[0].read_bytes() == CONTENT


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"a.jar": 1}'])
def test_a_broken_lock_is_named(lock: Path, text: str) -> None:
    lock.write_text(text)
    with pytest.raises(StackError, match=r"the lock of jars .*restore it from git"):
        jars.ensure_jars()


def test_both_lock_files_name_the_same_jars() -> None:
    root = ElementTree.parse(jars.LOCKED_IVY_FILE).getroot()
    named = {
        f"{artifact.get('conf')}/{dependency.get('name')}-{dependency.get('rev')}"
        for dependency in root.iter("dependency")
        for artifact in dependency.iter("artifact")
    }
    locked = {name.removesuffix(".jar").removesuffix("-jar-with-dependencies") for name in jars.read_lock()}
    assert named == locked


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("\tSERVER ERROR: java.net.UnknownHostException: nowhere", "cannot reach"),
        ("java.net.ConnectException: Connection refused", "cannot reach"),
        ("javax.net.ssl.SSLHandshakeException: PKIX path building failed", "does not trust the certificate"),
        ("HTTP response status: 401 url=", "refuses access"),
        ("impossible to get artifacts: java.io.IOException: No space left on device", "no room on the disk"),
        (":: org.gaul#s3proxy;4.1.0: not found ::", "does not have every jar that the lock names: org.gaul"),
    ],
)
def test_failed_downloads_are_told_apart_in_one_line(output: str, said: str) -> None:
    line = ivy.explain(output, {"MILLRACE_MAVEN_MIRROR": "https://mirror.example/maven"})
    assert said in line
    assert "mirror.example" in line
    assert "\n" not in line


def test_the_password_of_a_mirror_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_MAVEN_MIRROR", "https://mirror.example/maven")
    monkeypatch.setenv("MILLRACE_MAVEN_USER", "someone")
    monkeypatch.setenv("MILLRACE_MAVEN_PASSWORD", "hush & <hush>")
    seen: list[str] = []

    def run(command: list[str], **_: object) -> object:
        seen.extend(command)
        settings = Path(command[command.index("-settings") + 1])
        assert settings.stat().st_mode & 0o077 == 0
        (credentials,) = ElementTree.parse(settings).getroot().iter("credentials")
        assert credentials.get("passwd") == "hush & <hush>"
        return type("Answer", (), {"returncode": 0, "stdout": "", "stderr": ""})()

    monkeypatch.setattr(ivy.subprocess, "run", run)
    monkeypatch.setattr(ivy, "find_java", lambda: type("J", (), {"program": "java"})())
    ivy.retrieve(tmp_path / "ivy.xml", ["spark"], tmp_path / "t", tmp_path / "cache", transitive=False)
    assert not any("hush" in argument for argument in seen)
    assert not (tmp_path / "cache" / "ivysettings.xml").exists()
