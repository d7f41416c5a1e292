"""A proxy is for the rest of the world."""

from __future__ import annotations

from millrace.loopback import no_proxy, reach_directly


def test_this_machine_is_added_to_what_the_shell_leaves_out() -> None:
    assert no_proxy({}) == "127.0.0.1,localhost"
    assert no_proxy({"no_proxy": "example.org, localhost"}) == "127.0.0.1,localhost,example.org"
    assert no_proxy({"NO_PROXY": "", "no_proxy": "example.org"}) == "127.0.0.1,localhost,example.org"


def test_without_a_proxy_nothing_is_set_and_with_one_both_spellings_are() -> None:
    env = {"PATH": "/bin"}
    reach_directly(env)
    assert env == {"PATH": "/bin"}
    env["https_proxy"] = "http://proxy.example:3128"
    reach_directly(env)
    assert env["NO_PROXY"] == env["no_proxy"] == "127.0.0.1,localhost"
