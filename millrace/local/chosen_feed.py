"""The program `feed` of the stack: becomes `millrace feed run` with the feed that was chosen for this home.

The choice is read at every start, so that another feed needs a restart of this one program only.
"""

from __future__ import annotations

import os
import sys

from millrace.local.choices import DEFAULT_FEED, FEED, read_choices
from millrace.settings import load


def main() -> None:
    feed = read_choices(load().home).get(FEED, DEFAULT_FEED)
    os.execv(sys.executable, [sys.executable, "-m", "millrace", "feed", "run", feed])  # noqa: S606


if __name__ == "__main__":
    main()
