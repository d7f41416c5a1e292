from collections import Counter

import pytest

from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tags import facet_tags, text_tags
from millrace.feeds.posts.tweets import read_tweets
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data


def _facet(text: str, part: str, *tags: str, kind: str = "tag") -> dict[str, object]:
    start = len(text[: text.index(part)].encode())
    features = [{"$type": f"app.bsky.richtext.facet#{kind}", kind: tag} for tag in tags]
    return {"index": {"byteStart": start, "byteEnd": start + len(part.encode())}, "features": features}


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("", ()),
        ("no tag # here, nor a#", ()),
        ("#One two#Three #one", ("#one", "#three", "#one")),
        ("#서울! #東京、#ÄRGER_2", ("#서울", "#東京", "#ärger_2")),
        ("##double #a-b", ("#double", "#a")),
        ("#STRASSE #straße", ("#strasse", "#straße")),
    ],
)
def test_the_tags_of_a_text(text: str, tags: tuple[str, ...]) -> None:
    assert text_tags(text) == tags
    assert facet_tags(text, None) == tags


def test_a_tag_that_is_marked_and_written_counts_once_and_in_its_place() -> None:
    text = "🇰🇷 #Two then #one and #two"
    assert facet_tags(text, [_facet(text, "#one", "one")]) == ("#two", "#one", "#two")
    assert facet_tags(text, [_facet(text, "#one", "one"), _facet(text, "#Two", "Two")]) == (
        "#two",
        "#one",
        "#two",
    )


def test_the_authors_app_knows_better_what_the_tag_is() -> None:
    text = "so #rock-n-roll and #x"
    assert facet_tags(text, [_facet(text, "#rock-n-roll", "rock-n-roll")]) == ("#rock-n-roll", "#x")
    assert facet_tags(text, [_facet(text, "#x", "#X", "Y")]) == ("#rock", "#x", "#y")
    assert facet_tags("emoji 🎉 tag", [_facet("emoji 🎉 tag", "🎉", "🎉")]) == ("#🎉",)


def test_the_fragment_of_a_link_is_no_tag() -> None:
    text = "see example.org/#top #real"
    assert facet_tags(text, [_facet(text, "example.org/#top", "https://example.org/#top", kind="uri")]) == (
        "#real",
    )


@pytest.mark.parametrize(
    "facet",
    [
        None, 7, [], {}, {"index": None}, {"index": {"byteStart": 0, "byteEnd": 99}, "features": []},
        {"index": {"byteStart": -1, "byteEnd": 2}}, {"index": {"byteStart": 2, "byteEnd": 2}},
        {"index": {"byteStart": "0", "byteEnd": "2"}}, {"index": {"byteStart": 0, "byteEnd": 100}},
        {"index": {"byteStart": 4, "byteEnd": 7}, "features": None},
        {"index": {"byteStart": 4, "byteEnd": 7}, "features": [None, {"$type": "app.bsky.richtext.facet#tag"}]},
        {"index": {"byteStart": 4, "byteEnd": 7}, "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": " #"}]},
    ],
)  # fmt: skip
def test_a_broken_facet_costs_nothing_but_itself(facet: object) -> None:
    assert facet_tags("#a b c d", [facet]) == ("#a",)
    assert facet_tags("#a b c d", facet) == ("#a",)


def test_half_a_surrogate_pair_in_a_text_is_no_trouble() -> None:
    assert facet_tags("\ud83d #a", [_facet("? #a", "#a", "a")]) == ("#a",)


@needs_shared_data
def test_the_tags_of_the_recorded_tweets_are_those_of_the_recording() -> None:
    rows = list(read_tweets(DIRECTORY / "tweets_mayweather_mcgregor_2017-08-27.csv"))
    posts = [row for row in rows if isinstance(row, Post)]
    assert len(posts) == len(rows) == 12_118
    tags = Counter(tag for post in posts for tag in post.tags)
    assert (tags.total(), len(tags)) == (14_495, 962)
    assert tags.most_common(1) == [("#mayweathervmcgregor", 4_593)]
