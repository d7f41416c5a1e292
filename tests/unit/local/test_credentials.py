"""Secrets are made once, belong to the user alone, and appear nowhere they should not."""

from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from millrace import settings
from millrace.local.airflow_config import password_file, write_password_file
from millrace.local.credentials import ensure_secrets
from millrace.local.environment import stack_environment
from millrace.local.errors import StackError
from millrace.local.java import Java
from millrace.local.programs import render_config, stack_programs
from millrace.local.s3 import S3Server


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    made = ensure_secrets(tmp_path)
    path = tmp_path / "secrets.json"
    assert mode(path) == 0o600
    assert ensure_secrets(tmp_path) == made
    assert len(set(made.values())) == len(made)
    assert len(base64.urlsafe_b64decode(made["AIRFLOW__CORE__FERNET_KEY"])) == 32


def test_a_file_that_others_could_read_is_closed_again(tmp_path: Path) -> None:
    ensure_secrets(tmp_path)
    (tmp_path / "secrets.json").chmod(0o644)
    ensure_secrets(tmp_path)
    assert mode(tmp_path / "secrets.json") == 0o600


def test_a_secret_that_is_missing_is_added_without_touching_the_others(tmp_path: Path) -> None:
    made = ensure_secrets(tmp_path)
    older = {name: value for name, value in made.items() if name != "AIRFLOW__API__SECRET_KEY"}
    (tmp_path / "secrets.json").write_text(json.dumps(older))
    again = ensure_secrets(tmp_path)
    assert again["AIRFLOW__API__SECRET_KEY"]
    assert {name: again[name] for name in older} == older


def test_a_broken_file_is_named_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{broken")
    with pytest.raises(StackError, match=r"secrets\.json is broken: restore it"):
        ensure_secrets(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == "{broken"


def test_no_secret_is_in_a_command_line_or_in_the_supervisor_configuration(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path)
    here = settings.load({"MILLRACE_HOME": str(tmp_path)})
    s3 = S3Server(tmp_path / "s3", 9000, secrets["AWS_ACCESS_KEY_ID"], secrets["AWS_SECRET_ACCESS_KEY"])
    programs = stack_programs(here, ["java", "kafka.Kafka"], ["java", str(s3.properties_file)])
    shown = render_config(tmp_path, programs) + repr(s3) + repr(programs)
    for name, value in secrets.items():
        if name != "AWS_ACCESS_KEY_ID":  # a name, not a secret
            assert value not in shown


def test_files_with_secrets_belong_to_the_user_alone(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path)
    here = settings.load({"MILLRACE_HOME": str(tmp_path)})
    s3 = S3Server(tmp_path / "s3", 9000, "key", secrets["AWS_SECRET_ACCESS_KEY"])
    s3.directory.mkdir()
    s3.properties_file.write_text("left by an earlier version")
    s3.properties_file.chmod(0o644)
    s3.prepare()
    write_password_file(here, secrets)
    assert mode(s3.properties_file) == 0o600
    assert mode(password_file(here)) == 0o600
    assert json.loads(password_file(here).read_text()) == {"admin": secrets["AIRFLOW_ADMIN_PASSWORD"]}


def test_the_environment_has_what_programs_need_and_nothing_foreign(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path)
    here = replace(settings.load({"MILLRACE_HOME": str(tmp_path)}), access_key="a", secret_key="s")
    shell = {
        "PATH": "/usr/bin",
        "HOME": "/home/someone",
        "AWS_SESSION_TOKEN": "of another account",
        "AWS_PROFILE": "work",
        "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
        "SPARK_HOME": "/opt/spark",
        "SOME_API_KEY": "for a feed",
    }
    found = stack_environment(here, secrets, Java(Path("/opt/java/bin/java"), 17), shell)
    assert found["AWS_SECRET_ACCESS_KEY"] == secrets["AWS_SECRET_ACCESS_KEY"]
    assert found["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert found["MILLRACE_STACK"] == str(tmp_path)
    assert found["SOME_API_KEY"] == "for a feed"
    assert "/opt/java/bin" in found["PATH"]
    assert not {"AWS_SESSION_TOKEN", "AWS_PROFILE", "SPARK_HOME"} & set(found)
    # The programs check tokens; none of them needs to know the password itself.
    assert secrets["AIRFLOW_ADMIN_PASSWORD"] not in found.values()
