from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path

import pytest

from millrace import settings
from millrace.catalog import FeedSpec
from millrace.control.shared_socket import shared_socket
from millrace.control.streamhost import LONGEST_SOCKET_PATH, render_config
from millrace.control.supervised import SupervisedFeed
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
        "0,10,11,12,13,14",
    )
    assert (bikes["stopwaitsecs"], bikes["killasgroup"]) == ("75", "true")
    assert int(bikes["stdout_logfile_backups"]) > 0


def test_streams_that_share_a_driver_keep_their_programs_and_get_one_more():
    here = settings.load({"MILLRACE_HOME": "/srv/millrace"})
    streams = [SPEC.model_copy(update={"name": name, "driver": "light"}) for name in ("bikes", "orders")]
    parsed = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parsed.read_string(render_config(here, streams))
    assert [name for name in parsed if name.startswith("program:")] == [
        "program:bikes",
        "program:orders",
        "program:shared-light",
    ]
    shared = parsed["program:shared-light"]
    assert shared["command"].endswith(" -m spark_apps.runtime.shared_driver light")
    assert (shared["autostart"], shared["autorestart"]) == ("false", "false"), "its handles have it started"
    assert int(shared["priority"]) < 999, "the host ends it after them"


def test_the_socket_of_a_shared_driver_fits_wherever_the_hosts_own_does():
    home = Path("/srv") / ("x" * (LONGEST_SOCKET_PATH - len("/srv//run/streamhost.sock")))
    rendered(str(home))
    assert len(str(shared_socket(home, "d" * 20))) <= 103


def test_it_listens_on_a_private_socket_only_and_holds_no_secret():
    text, config = rendered()
    assert config["unix_http_server"]["chmod"] == "0700"
    assert "inet_http_server" not in config
    assert "hush" not in text
    assert "environment" not in text


def test_on_a_network_it_asks_for_a_login_that_is_not_in_the_file():
    here = settings.load(
        {
            "MILLRACE_HOME": "/srv/millrace",
            "MILLRACE_STREAMHOST_LISTEN": "0.0.0.0:9001",
            "MILLRACE_STREAMHOST_USERNAME": "ada",
            "MILLRACE_STREAMHOST_PASSWORD": "hush",
        }
    )
    text = render_config(here, [SPEC])
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert dict(parsed["inet_http_server"]) == {
        "port": "0.0.0.0:9001",
        "username": "%(ENV_MILLRACE_STREAMHOST_USERNAME)s",
        "password": "%(ENV_MILLRACE_STREAMHOST_PASSWORD)s",
    }
    assert parsed["unix_http_server"]["chmod"] == "0700", "for its own machine"
    assert "hush" not in text


def test_a_path_with_characters_that_supervisord_expands_is_kept():
    _, config = rendered("/srv/100% ;sure")
    assert config["unix_http_server"]["file"] == "/srv/100%% \\;sure/run/streamhost.sock"


def test_a_home_that_is_too_deep_for_a_socket_is_refused():
    with pytest.raises(SettingsError, match="set MILLRACE_HOME to a shorter one"):
        rendered(str(Path("/srv") / ("x" * 80)))


def test_a_feed_has_a_program_like_a_stream_and_a_log_under_its_own_name():
    feed = SupervisedFeed.of(FeedSpec(name="orders", kind="orders", topic="orders"))
    parsed = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parsed.read_string(render_config(settings.load({"MILLRACE_HOME": "/srv/millrace"}), [SPEC, feed]))
    program = parsed["program:feed-orders"]
    assert program["command"].endswith(" -m millrace.commands.host exec feed-orders")
    assert (program["autostart"], program["stopwaitsecs"]) == ("false", "45")
    assert program["stdout_logfile"] == "/srv/millrace/logs/feed-orders.log"
