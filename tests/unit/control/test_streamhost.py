from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path

import pytest

from millrace import settings
from millrace.control.streamhost import render_config
from millrace.settings import SettingsError
from tests.unit.control.samples import SPEC


def rendered(home: str = "/srv/millrace", names: tuple[str, ...] = ("bikes", "orders")):
    here = replace(settings.load({"MILLRACE_HOME": home, "AWS_SECRET_ACCESS_KEY": "hush"}), secret_key="hush")
    text = render_config(here, [SPEC.model_copy(update={"name": name}) for name in names])
    parsed = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parsed.read_string(text)
    return text, parsed


def test_there_is_one_constant_program_per_stream_that_does_not_start_by_itself():
    _, config = rendered()
    assert [name for name in config if name.startswith("program:")] == ["program:bikes", "program:orders"]
    bikes = config["program:bikes"]
    assert bikes["command"].endswith(" -m millrace.commands.host exec bikes")
    assert (bikes["autostart"], bikes["autorestart"], bikes["exitcodes"]) == (
        "false",
        "unexpected",
        "0,10,11,12,13",
    )
    assert (bikes["stopwaitsecs"], bikes["killasgroup"]) == ("75", "true")
    assert int(bikes["stdout_logfile_backups"]) > 0


def test_it_listens_on_a_private_socket_only_and_holds_no_secret():
    text, config = rendered()
    assert config["unix_http_server"]["chmod"] == "0700"
    assert "inet_http_server" not in config
    assert "hush" not in text
    assert "environment" not in text


def test_a_path_with_characters_that_supervisord_expands_is_kept():
    _, config = rendered("/srv/100% ;sure")
    assert config["unix_http_server"]["file"] == "/srv/100%% \\;sure/run/streamhost.sock"


def test_a_home_that_is_too_deep_for_a_socket_is_refused():
    with pytest.raises(SettingsError, match="set MILLRACE_HOME to a shorter one"):
        rendered(str(Path("/srv") / ("x" * 80)))
