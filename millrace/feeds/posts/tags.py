"""The hashtags of a post: from its text, and from what its author's app marked as such."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TAG = re.compile(r"#\w+")
_TAG_FEATURE = "app.bsky.richtext.facet#tag"


def text_tags(text: str) -> tuple[str, ...]:
    """The tags of a text, `#` and letters, digits or underscores of any script, lower-cased, in order."""
    return tuple(tag.lower() for tag in _TAG.findall(text))


def facet_tags(text: str, facets: object) -> tuple[str, ...]:
    """The tags that a Bluesky post's facets mark, and those of its text that no facet covers, in order.

    A facet is a stretch of the text, in bytes of its UTF-8, with what it means: a tag, a link, a mention. So a tag
    in the text that is marked counts once, `#a-b` is the tag that the author's app took it for, and the `#part` of
    a link is none. A facet that does not lie within the text is ignored, as Bluesky's own apps do.
    """
    encoded = text.encode("utf-8", "replace")
    marked = list(_facets(facets, len(encoded)))
    found = [(start, tag) for start, _, tags in marked for tag in tags]
    for match in _TAG.finditer(text):
        start = len(text[: match.start()].encode("utf-8", "replace"))
        end = start + len(match[0].encode("utf-8", "replace"))
        if not any(begin < end and start < stop for begin, stop, _ in marked):
            found.append((start, match[0].lower()))
    found.sort(key=lambda place: place[0])
    return tuple(tag for _, tag in found)


def _facets(facets: object, length: int) -> Iterator[tuple[int, int, list[str]]]:
    """(first byte, byte after the last, tags) of every facet that lies within the text."""
    for facet in facets if isinstance(facets, list) else ():
        if not isinstance(facet, dict) or not isinstance(facet.get("index"), dict):
            continue
        start, end = facet["index"].get("byteStart"), facet["index"].get("byteEnd")
        if type(start) is int and type(end) is int and 0 <= start < end <= length:
            yield start, end, [tag for tag in map(_tag, _features(facet)) if tag]


def _features(facet: dict[str, Any]) -> list[Any]:
    features = facet.get("features")
    return features if isinstance(features, list) else []


def _tag(feature: object) -> str:
    if not isinstance(feature, dict) or feature.get("$type") != _TAG_FEATURE:
        return ""
    tag = feature.get("tag")
    name = tag.strip().lstrip("#") if isinstance(tag, str) else ""
    return f"#{name.lower()}" if name else ""
