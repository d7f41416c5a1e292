from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.commands.feed import app
from millrace.commands.feed_run import BAD_CONFIGURATION

runner = CliRunner()


@pytest.mark.parametrize(
    "command", ["run", "list", "city", "gbfs", "seoul", "replay", "orders", "orders-replay", "posts"]
)
def test_every_command_explains_itself(command: str) -> None:
    answer = runner.invoke(app, [*command.split(), "--help"])
    assert answer.exit_code == 0
    assert "Usage" in answer.output
    assert len(answer.output.splitlines()) > 8


def test_the_list_shows_the_feeds_of_the_catalog_and_marks_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "city (default)" in runner.invoke(app, ["list"]).output
    monkeypatch.setenv("MILLRACE_FEED", "gbfs:https://host/gbfs.json")
    answer = runner.invoke(app, ["list"]).output
    assert "gbfs (default)" in answer
    assert "https://host/gbfs.json" in answer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "there is no feed 'nothing' in feeds.yaml; there are: bluesky, city, lines,"),
        (["run", "gbfs:nowhere"], "it is not a URL such as https://example.org/gbfs.json"),
        (["city", "--interval", "1s"], "millrace: --interval: it must be at least 5s"),
        (["city", "--system-id", ""], "millrace: --system-id: String should have at least 1 character"),
        (["lines", "localhost"], "millrace: --address: it is not an address such as localhost:9999"),
        (["gbfs", "ftp://host/gbfs.json"], "it is not a URL such as"),
    ],
)
def test_a_bad_configuration_is_one_line_and_its_own_exit_status(arguments: list[str], message: str) -> None:
    answer = runner.invoke(app, arguments)
    assert answer.exit_code == BAD_CONFIGURATION
    assert answer.stderr.startswith("millrace: ")
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_one_system_id_for_several_systems_is_refused() -> None:
    answer = runner.invoke(app, ["gbfs", "http://a/gbfs.json", "http://b/gbfs.json", "--system-id", "x"])
    assert answer.exit_code == 2
    assert "is for a single URL" in answer.output


def test_a_home_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "file"))
    answer = runner.invoke(app, ["list"])
    assert answer.exit_code == BAD_CONFIGURATION
    assert answer.stderr.startswith(
        f"millrace: {tmp_path}/file/settings.json cannot be read (Not a directory)"
    )
    assert answer.stderr.count("\n") == 1
