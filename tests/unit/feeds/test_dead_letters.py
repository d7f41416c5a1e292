import base64
import json

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from millrace.feeds.dead_letters import Repeats, dead_letter
from millrace.feeds.envelope import load_schema
from millrace.feeds.model import Rejection

SCHEMA = Draft202012Validator(load_schema("dead_letters"))


@given(st.binary(max_size=500), st.text(st.characters()), st.none() | st.text(min_size=1, max_size=20))
def test_a_dead_letter_holds_the_whole_body_and_follows_the_schema(
    body: bytes, detail: str, system_id: str | None
) -> None:
    value = dead_letter(
        "city", system_id, Rejection("not_json", detail, body), 1_700_000_000, max_bytes=10_000
    )
    letter = json.loads(value)
    SCHEMA.validate(letter)
    assert base64.b64decode(letter["body_base64"]) == body
    assert "body_bytes" not in letter
    assert letter["detail"].encode("utf-8") is not None


@given(st.binary(min_size=1000, max_size=3000), st.integers(600, 1300))
def test_a_body_too_big_for_the_topic_keeps_its_beginning_and_its_length(body: bytes, limit: int) -> None:
    value = dead_letter("city", "x", Rejection("not_json", "no", body), 1_700_000_000, max_bytes=limit)
    letter = json.loads(value)
    SCHEMA.validate(letter)
    assert len(value) <= limit
    kept = base64.b64decode(letter["body_base64"])
    assert body.startswith(kept)
    assert len(kept) > limit / 3
    assert letter["body_bytes"] == len(body)


def test_the_same_reply_again_is_counted_and_another_or_a_good_one_in_between_begins_anew() -> None:
    repeats, one, other = Repeats(), Rejection("not_json", "", b"1"), Rejection("not_json", "", b"2")
    assert [repeats.times("a", one) for _ in range(3)] == [1, 2, 3]
    assert repeats.times("b", one) == 1
    assert repeats.times("a", other) == 1
    assert repeats.times("a", one) == 1
    repeats.forget("a")
    assert repeats.times("a", one) == 1
