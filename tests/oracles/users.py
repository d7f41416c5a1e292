"""Users by plain Python, one post at a time: what the user transform must agree with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from tests.oracles.posts import Accepted, Posts

User = tuple[str, str]
"""Source and id."""
ANALYZER = SentimentIntensityAnalyzer()


@dataclass
class Known:
    """What is known of a user; `mood` in millionths."""

    requests: int
    mood: int
    last_at: int


@dataclass
class Felt:
    """A post with what it did."""

    post: Accepted
    score: int
    """In ten-thousandths."""
    change: int
    mood: int


def felt_by(posts: Posts, *, alpha: float, expire_after: int) -> tuple[dict[User, Known], list[Felt]]:
    """Every user ever seen, and every post with its effect, in order; `expire_after` in milliseconds."""
    users: dict[User, Known] = {}
    felt = []
    for post in posts.accepted:
        user = users.get((post.source, post.user))
        if user is None or post.at > user.last_at + expire_after:
            user = users[post.source, post.user] = Known(0, 0, post.at)
        score = round(ANALYZER.polarity_scores(post.text)["compound"] * 10_000)
        change = math.floor(Fraction(str(alpha)) * (score * 100 - user.mood) + Fraction(1, 2))
        user.mood += change
        user.requests += 1
        user.last_at = max(user.last_at, post.at)
        felt.append(Felt(post, score, change, user.mood))
    return users, felt


def users_by_hour(felt: list[Felt]) -> dict[tuple[str, str, int], tuple[int, float, float, int]]:
    """(source, user, hour) to (requests, mean score, mood, last_posted_at in ms)."""
    rows: dict[tuple[str, str, int], list[Felt]] = {}
    for one in felt:
        rows.setdefault((one.post.source, one.post.user, one.post.at // 3_600_000), []).append(one)
    return {
        key: (
            len(those),
            sum(one.score for one in those) / (len(those) * 10_000),
            those[-1].mood / 1_000_000,
            max(one.post.at for one in those),
        )
        for key, those in rows.items()
    }


def lists_of(
    users: dict[User, Known], felt: list[Felt], *, begin: int, end: int, at_most: int
) -> tuple[list[dict[str, object]], list[dict[str, object]], int]:
    """The most active users and the top movers of [begin, end), and how many users posted."""
    requests: dict[User, int] = {}
    change: dict[User, int] = {}
    for one in felt:
        if begin <= one.post.at < end:
            user = (one.post.source, one.post.user)
            requests[user] = requests.get(user, 0) + 1
            change[user] = change.get(user, 0) + one.change
    active = sorted(requests, key=lambda user: (-requests[user], user[1], user[0]))[:at_most]
    moved = sorted(
        (user for user in change if change[user]), key=lambda user: (-abs(change[user]), user[1], user[0])
    )
    mood = {user: known.mood / 1_000_000 for user, known in users.items()}
    return (
        [
            {
                "source": user[0],
                "user_id": user[1],
                "requests": requests[user],
                "total": users[user].requests,
                "mood": mood[user],
            }
            for user in active
        ],
        [
            {
                "source": user[0],
                "user_id": user[1],
                "change": change[user] / 1_000_000,
                "mood": mood[user],
            }
            for user in moved[:at_most]
        ],
        len(requests),
    )
