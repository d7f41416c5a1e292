"""Running the preflight of a version, in a process of its own and for as long as it may take."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from millrace.control.preflight import BEAT_EVERY
from millrace.control.spans import in_words


@dataclass(frozen=True)
class Tried:
    """`later`: it could not be tried now (Kafka or the store was away)."""

    outcome: Literal["done", "refused", "later"]
    says: str


def try_version(spec: Path, within: timedelta, beat: Callable[[float], None] = lambda _: None) -> Tried:
    """Run the preflight of what is in `spec` and in the working directory; what takes longer than `within` is refused.

    `beat` is told the seconds since it began, at once and every few of them. The process is ended with this call,
    also when that is interrupted.
    """
    command = [sys.executable, "-m", "spark_apps.runtime.preflight", "--spec", str(spec)]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while True:
                tried_for = time.monotonic() - began
                left = within.total_seconds() - tried_for
                if left <= 0:
                    return Tried(
                        "refused", f"to try it did not end within {in_words(within)} (preflight_within)"
                    )
                beat(tried_for)
                try:
                    said, complaints = process.communicate(timeout=min(BEAT_EVERY, left))
                except subprocess.TimeoutExpired:
                    continue
                return _outcome(process.returncode, said, complaints)
        finally:
            process.kill()


def _outcome(code: int, said: str, complaints: str) -> Tried:
    try:
        last = json.loads(said.strip().splitlines()[-1])
        passed = {True: "done", False: "refused", None: "later"}[last["passed"]]
        return Tried(passed, last["says"])  # type: ignore[arg-type]
    except (IndexError, ValueError, KeyError, TypeError):
        words = (complaints.strip().splitlines() or ["it said nothing"])[-1]
        ended = f"killed by signal {-code}" if code < 0 else f"exit {code}"
        return Tried("refused", f"its code does not run ({ended}): {words}")
