"""How cheerful or cross a text is: VADER, a lexicon of words, emoji and how they strengthen or turn each other.

C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text"
(2014). The lexicon is English (emoji are everybody's) and comes with the package: nothing is fetched.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

LOOKED_AT = 300
"""Characters of a text that count, the length of a post on Bluesky: the time that VADER takes grows with the square of
it (300 emoji: 0.2 s, 1,000: 2.5 s; an ordinary post: 50 us)."""
UNITS = 10_000
"""Of a score: VADER rounds to four digits, so a score is a whole number of these, and sums of scores are exact."""


@lru_cache(maxsize=8192)
def score(text: str) -> int:
    """From -10,000 (cross) to 10,000 (cheerful); 0 for a text without a word of the lexicon. Cached by text."""
    return round(_analyzer().polarity_scores(text[:LOOKED_AT])["compound"] * UNITS)


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
