"""The supervisor's configuration: complete, readable by supervisord, and closed to the network."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

from millrace import settings
from millrace.local.errors import StackError
from millrace.local.programs import (
    NAMES,
    Program,
    check_path,
    config_file,
    render_config,
    stack_programs,
)


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string(text)
    return parser


def test_every_program_is_there_and_none_starts_by_itself(tmp_path: Path) -> None:
    here = settings.load({"MILLRACE_HOME": str(tmp_path)})
    programs = stack_programs(here, ["java", "kafka"], ["java", "s3"])
    assert tuple(program.name for program in programs) == NAMES
    config = parsed(render_config(tmp_path, programs))
    for program in programs:
        section = config[f"program:{program.name}"]
        assert section["autostart"] == "false"
        assert shlex.split(section["command"].replace("%%", "%")) == list(program.command)
        assert int(section["stopwaitsecs"]) == program.stop_within


def test_it_is_reached_over_a_private_unix_socket_only(tmp_path: Path) -> None:
    config = parsed(render_config(tmp_path, []))
    assert not config.has_section("inet_http_server")
    assert config["unix_http_server"]["chmod"] == "0700"
    assert config["unix_http_server"]["file"] == str(tmp_path / "run" / "stack.sock")


def test_airflow_listens_on_this_machine_only_and_runs_no_log_server(tmp_path: Path) -> None:
    here = settings.load({"MILLRACE_HOME": str(tmp_path)})
    commands = {p.name: list(p.command) for p in stack_programs(here, [], [])}
    assert commands["airflow-api-server"][-5:-2] == ["127.0.0.1", "--port", str(here.ports.airflow)]
    assert "--skip-serve-logs" in commands["airflow-scheduler"]
    assert "--skip-serve-logs" in commands["airflow-triggerer"]


def test_awkward_paths_survive(tmp_path: Path) -> None:
    from supervisor.options import ServerOptions

    home = tmp_path / "my (home) of 7 O'Clock"
    (home / "run").mkdir(parents=True)
    (home / "logs").mkdir()
    command = ["/bin/echo", "it's 5%", "a b"]
    config_file(home).write_text(render_config(home, [Program("kafka", command)]))
    options = ServerOptions()
    options.realize(args=["-c", str(config_file(home))])
    (process,) = options.process_group_configs[0].process_configs
    assert shlex.split(process.command) == command
    assert process.stdout_logfile == str(home / "logs" / "kafka.log")


def test_a_home_that_is_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    check_path(Path("/home/someone/millrace/.millrace"))
    with pytest.raises(StackError, match=r"too long for a socket in it .*MILLRACE_HOME"):
        check_path(tmp_path / ("x" * 90))


@pytest.mark.parametrize("name", ["a ;b", "a\nb", "100%"])
def test_a_home_that_supervisord_would_misread_is_refused(name: str) -> None:
    with pytest.raises(StackError, match="which supervisord takes for something else"):
        check_path(Path("/home") / name)


@pytest.mark.parametrize("name", ["a,b", "a\\b", "a?b"])
def test_a_home_in_which_a_server_would_see_another_place_is_refused(name: str) -> None:
    with pytest.raises(StackError, match="in it, wh"):
        check_path(Path("/home") / name)


def test_everything_comes_back(tmp_path: Path) -> None:
    config = parsed(
        render_config(tmp_path, stack_programs(settings.load({"MILLRACE_HOME": str(tmp_path)}), ["k"], ["s"]))
    )
    programs = {name for name in config.sections() if name.startswith("program:")}
    assert {config[name]["autorestart"] for name in programs} == {"true"}
