"""Made-up posts: each a pure function of the seed and its number, but for the time at which it is sent.

So the truth about any span of numbers is known without having seen a message: `demo_posts(seed, first)` gives them
again. Tags are as uneven as real ones (the n-th is about 1/n as frequent), and every few hundred posts another two
burst for a while, so that a list of the most frequent ones moves. Every user's mood swings slowly between cheerful
and cross, and shows in the words.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from millrace.feeds.posts.demo_words import (
    CHEERFUL,
    CHEERFUL_SIGNS,
    CROSS,
    CROSS_SIGNS,
    PLAIN,
    PLAIN_SIGNS,
    TAGS,
)
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tags import text_tags

USERS = 500
MOMENT = 300
"""Posts for which the tags keep their weights: a minute of the default rate."""
_BURST = (60.0, 20.0, 6.0)
"""How much more frequent a tag is in the moment of its burst and in the two after it."""
_HABIT = 40
"""Moments after which what is usual changes."""


class DemoPost(NamedTuple):
    """A made-up post without its time."""

    number: int
    user_id: str
    text: str


def demo_posts(seed: int, first: int = 1) -> Iterator[DemoPost]:
    """The posts from number `first` on (numbers begin at 1), without end."""
    moment, within = divmod(first - 1, MOMENT)
    while True:
        yield from _posts_of(seed, moment)[within:]
        moment, within = moment + 1, 0


def dated(made: DemoPost, seed: int, posted_at: int) -> Post:
    """The post as it is sent; `posted_at` in epoch milliseconds UTC."""
    return Post("demo", post_id(seed, made.number), made.user_id, posted_at, made.text, text_tags(made.text))


def post_id(seed: int, number: int) -> str:
    return f"demo-{seed}-{number}"


def number_of(post_id: str, seed: int) -> int | None:
    """The number of a post by its id; None for an id of something else."""
    rest = post_id.removeprefix(f"demo-{seed}-")
    return int(rest) if rest != post_id and rest.isascii() and rest.isdigit() else None


@lru_cache(maxsize=4)
def _posts_of(seed: int, moment: int) -> tuple[DemoPost, ...]:
    rng = random.Random(f"posts of {seed}, moment {moment}")
    users = rng.choices(range(USERS), cum_weights=_user_weights(seed), k=MOMENT)
    tags = iter(rng.choices(TAGS, weights=_tag_weights(seed, moment), k=3 * MOMENT))
    counts = rng.choices((0, 1, 2, 3), weights=(35, 40, 18, 7), k=MOMENT)
    first = moment * MOMENT + 1
    return tuple(
        DemoPost(
            first + place,
            f"user{user:03d}",
            _text(rng, _mood(seed, user, moment), [next(tags) for _ in range(counts[place])]),
        )
        for place, user in enumerate(users)
    )


def _text(rng: random.Random, mood: float, tags: list[str]) -> str:
    """A sentence in a mood (from -1 to 1), its tags, and now and then a sign of the mood."""
    swing = mood + rng.gauss(0, 0.3)
    phrases, signs = PLAIN, PLAIN_SIGNS
    if swing > 0.33:
        phrases, signs = CHEERFUL, CHEERFUL_SIGNS
    elif swing < -0.33:
        phrases, signs = CROSS, CROSS_SIGNS
    sign = rng.choice(signs) if rng.random() < 0.5 else ""
    written = [f"#{tag.capitalize() if rng.random() < 0.3 else tag}" for tag in tags]
    return " ".join(part for part in (rng.choice(phrases), *written, sign) if part)


def _mood(seed: int, user: int, moment: int) -> float:
    period, phase = _swings(seed)[user]
    return math.sin(2 * math.pi * (moment / period + phase))


@cache
def _swings(seed: int) -> list[tuple[float, float]]:
    """(period in moments, phase) of every user's mood."""
    rng = random.Random(f"moods of {seed}")
    return [(rng.uniform(20, 200), rng.random()) for _ in range(USERS)]


@cache
def _user_weights(seed: int) -> list[float]:
    ranks = random.Random(f"users of {seed}").sample(range(1, USERS + 1), USERS)
    total, sums = 0.0, []
    for rank in ranks:
        total += 1.0 / rank**0.8
        sums.append(total)
    return sums


def _tag_weights(seed: int, moment: int) -> list[float]:
    ranks = random.Random(f"tags of {seed}, habit {moment // _HABIT}").sample(
        range(1, len(TAGS) + 1), len(TAGS)
    )
    weights = [1.0 / rank for rank in ranks]
    for ago, burst in enumerate(_BURST):
        for tag in random.Random(f"bursts of {seed}, moment {moment - ago}").sample(range(len(TAGS)), 2):
            weights[tag] += burst / 30
    return weights
