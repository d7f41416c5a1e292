"""`.env` is made once, completed later, and never shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.compose.dotenv import SECRETS, completed, ensure
from millrace.local.errors import StackError
from millrace.settings import PROJECT_ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".env.example").write_text("# of people\nS3_PORT=29000\nPOSTGRES_PASSWORD=\nS3_SECRET_KEY=\n")
    return tmp_path


def read(root: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (root / ".env").read_text(), re.MULTILINE))


def test_every_secret_is_made_and_the_rest_is_as_in_the_example(root: Path) -> None:
    said = ensure(root)
    found = read(root)
    assert found.keys() == {"S3_PORT", *SECRETS}
    assert found["S3_PORT"] == "29000"
    assert len({found[name] for name in SECRETS}) == len(SECRETS)
    assert (root / ".env").read_text().startswith("# of people\n")
    assert (root / ".env").stat().st_mode & 0o777 == 0o600
    assert not any(found[name] in said for name in SECRETS)


def test_secrets_need_no_quoting_in_addresses_and_files(root: Path) -> None:
    ensure(root)
    for name in SECRETS:
        assert re.fullmatch(r"[A-Za-z0-9_=-]{15,}", read(root)[name]), name


def test_a_second_run_changes_nothing_but_the_mode(root: Path) -> None:
    ensure(root)
    before = (root / ".env").read_text()
    (root / ".env").chmod(0o644)
    assert "nothing was changed" in ensure(root)
    assert (root / ".env").read_text() == before
    assert (root / ".env").stat().st_mode & 0o777 == 0o600


def test_what_a_person_set_stays_and_what_is_missing_is_added() -> None:
    text, made = completed("POSTGRES_PASSWORD=mine\nS3_SECRET_KEY=\nOTHER=$kept # so\n")
    assert "POSTGRES_PASSWORD=mine\n" in text
    assert "OTHER=$kept # so\n" in text
    assert set(made) == set(SECRETS) - {"POSTGRES_PASSWORD"}
    assert completed(text) == (text, [])


def test_outside_a_clone_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"\.env\.example cannot be read"):
        ensure(tmp_path)


def test_it_needs_no_package_but_pythons_own() -> None:
    """A server has Docker and a bare Python."""
    code = "import millrace.compose.dotenv as d; print(len(d.completed('')[1]))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=PROJECT_ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (str(len(SECRETS)), "")
