"""Where a stream host is, and that it is never open to a network without a login."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import settings
from millrace.control.launcher import StreamHost
from millrace.settings import Settings, SettingsError

LOGIN = {"MILLRACE_STREAMHOST_USERNAME": "ada", "MILLRACE_STREAMHOST_PASSWORD": "hidden"}


def load(tmp_path: Path, **env: str) -> Settings:
    return settings.load({"MILLRACE_HOME": str(tmp_path), **env})


def test_without_a_word_it_is_on_this_machine(tmp_path: Path) -> None:
    here = load(tmp_path)
    assert (here.stream_host.at, here.stream_host.listen) == (None, None)


def test_the_password_is_a_secret(tmp_path: Path) -> None:
    here = load(tmp_path, MILLRACE_STREAMHOST="streamhost:9001", **LOGIN)
    assert here.stream_host.at == "streamhost:9001"
    assert "hidden" in here.secrets
    assert "hidden" not in repr(here)
    StreamHost.of(here)


@pytest.mark.parametrize("name", ["MILLRACE_STREAMHOST", "MILLRACE_STREAMHOST_LISTEN"])
@pytest.mark.parametrize("missing", LOGIN)
def test_a_network_without_a_login_is_refused(tmp_path: Path, name: str, missing: str) -> None:
    login = {key: value for key, value in LOGIN.items() if key != missing}
    with pytest.raises(SettingsError, match=f"{name} is set, but {missing} is not"):
        load(tmp_path, **{name: "0.0.0.0:9001"}, **login)


@pytest.mark.parametrize(
    "place", ["streamhost", "http://streamhost:9001", "streamhost:0", "streamhost:99999", ":9001"]
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(SettingsError, match="it must be HOST:PORT, such as streamhost:9001"):
        load(tmp_path, MILLRACE_STREAMHOST=place, **LOGIN)
