"""Which tests may run side by side: those of different files, unless they take the whole machine."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

TAKES_THE_MACHINE = ("tests/chaos/", "tests/e2e/")
"""These bring up so much that two of them side by side would only wait for each other."""

AUDITS = (
    "tests/dags/test_compact_hourly.py",
    "tests/dags/test_quality_daily.py",
    "tests/dags/test_review_quarantine.py",
)
"""These import Great Expectations, which takes 5 s: once is enough."""


class ByFileOrMachine(LoadFileScheduling):  # type: ignore[misc]
    """A file stays on one worker, for the sake of its fixtures; and so do files that take the machine, or audit.

    Not by xdist's own groups: in its version 3.8 they do nothing under pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(TAKES_THE_MACHINE):
            return "the machine"
        if nodeid.startswith(AUDITS):
            return "the audits"
        scope: str = super()._split_scope(nodeid)
        return scope
