import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.feeds.http import Backoff
from millrace.feeds.line_splitter import LineSplitter, TooLong
from millrace.feeds.reconnect import Reconnect
from millrace.feeds.socket.options import parse_address


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=10), st.data())
def test_lines_are_the_same_however_they_are_cut_into_pieces(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(lines)
    splitter = LineSplitter()
    found: list[bytes | TooLong] = []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += splitter.feed(whole[:size])
        whole = whole[size:]
    found += splitter.end()
    expected = [line.removesuffix(b"\r") for line in lines]
    assert found == (expected if expected and expected[-1] else expected[:-1])


def test_a_line_that_never_ends_costs_only_itself() -> None:
    splitter = LineSplitter(longest=10)
    assert splitter.feed(b"one\n" + b"x" * 11) == [b"one", TooLong(b"x" * 10)]
    assert splitter.feed(b"x" * 50) == []
    assert splitter.feed(b"x" * 5 + b"\ntwo\n" + b"y" * 12 + b"\nthree") == [b"two", TooLong(b"y" * 10)]
    assert splitter.end() == [b"three"]
    assert splitter.feed(b"z" * 10 + b"\n") == [b"z" * 10]
    assert splitter.feed(b"z" * 30) == [TooLong(b"z" * 10)]
    assert splitter.end() == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:9999", ("localhost", 9999)),
        ("socket://10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:7", ("::1", 7)),
        (" a-b.example.org:1 ", ("a-b.example.org", 1)),
    ],
)
def test_an_address(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "localhost", ":9", "a:0", "a:65536", "a:b", "http://a:80", "::1:7", "a b:9"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="it is not an address such as localhost:9999"):
        parse_address(text)


def test_waits_grow_with_failures_and_a_success_forgets_them() -> None:
    again = Reconnect(Backoff(first=1, longest=30, attempts=8))
    waits = [again.failed() for _ in range(7)]
    for wait, full in zip(waits, [1, 2, 4, 8, 16, 30, 30], strict=True):
        assert full / 2 <= wait <= full
    assert not again.given_up
    again.failed()
    assert again.given_up
    again.worked()
    assert again.failed() <= 1
    assert not Reconnect(Backoff()).given_up
