"""Ports and feed: what is asked for now, then what was asked for before, then the defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace import settings
from millrace.local.choices import choose, keep_choices, read_choices
from millrace.local.errors import StackError
from millrace.settings import DEFAULT_PORTS


def test_without_a_word_the_defaults_are_taken() -> None:
    chosen = choose({}, {}, None, None)
    assert {name: int(chosen[f"MILLRACE_PORT_{name}"]) for name in DEFAULT_PORTS} == DEFAULT_PORTS
    assert chosen["MILLRACE_FEED"] == "city"


def test_a_base_moves_every_port_and_is_kept() -> None:
    first = choose({}, {}, 20000, "city")
    ports = [int(first[f"MILLRACE_PORT_{name}"]) for name in DEFAULT_PORTS]
    assert ports == list(range(20000, 20000 + len(DEFAULT_PORTS)))
    assert choose({}, first, None, None) == first


def test_a_variable_is_stronger_than_the_base_and_the_base_than_what_was_kept() -> None:
    kept = choose({}, {}, 20000, None)
    chosen = choose({"MILLRACE_PORT_S3": "9000"}, kept, 30000, None)
    assert chosen["MILLRACE_PORT_S3"] == "9000"
    assert chosen["MILLRACE_PORT_KAFKA"] == "30000"


@pytest.mark.parametrize("base", [0, 80, 65535])
def test_a_base_that_leaves_the_range_of_ports_is_refused(base: int) -> None:
    with pytest.raises(StackError, match=f"PORT_BASE={base} cannot be used"):
        choose({}, {}, base, None)


def test_the_settings_find_what_was_chosen(tmp_path: Path) -> None:
    keep_choices(tmp_path, choose({}, {}, 20000, None))
    assert settings.load({"MILLRACE_HOME": str(tmp_path)}).ports.kafka == 20000


def test_other_entries_of_the_file_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"MILLRACE_BUCKET": "mine"}))
    keep_choices(tmp_path, {"MILLRACE_FEED": "city"})
    assert read_choices(tmp_path) == {"MILLRACE_BUCKET": "mine", "MILLRACE_FEED": "city"}


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(StackError, match=r"settings\.json is not valid JSON .*: mend it or delete it"):
        read_choices(tmp_path)


def test_a_home_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        settings.SettingsError, match=r"file/settings\.json cannot be read \(Not a directory\).*MILLRACE_HOME"
    ):
        settings.load({"MILLRACE_HOME": str(tmp_path / "file")})


@pytest.mark.parametrize("port", ["x", "0", "65536", "²", "-1", "1.5"])
def test_what_is_no_port_is_refused_by_its_name(port: str, tmp_path: Path) -> None:
    with pytest.raises(settings.SettingsError, match=f"MILLRACE_PORT_S3='{port}' is not a port"):
        settings.load({"MILLRACE_HOME": str(tmp_path), "MILLRACE_PORT_S3": port})
