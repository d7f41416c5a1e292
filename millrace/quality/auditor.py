"""The audit before publishing: judges a candidate, keeps the results, and puts into quarantine what fails."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from millrace.publish.audit import Verdict
from millrace.publish.content import content_digest
from millrace.publish.hour import VERSION, HourState
from millrace.quality.judge import Finding, judge
from millrace.quality.neighbours import neighbours
from millrace.quality.quarantine import (
    SAMPLE,
    Decision,
    Entry,
    FailedExpectation,
    put_entry,
    put_failing_rows,
    quarantine_prefix,
    read_decision,
)
from millrace.quality.reason import refusal_text
from millrace.quality.results import put_results, results_table
from millrace.quality.suite import columns_named, load_suite, suite_file
from millrace.quality.views import Hour
from millrace.store import ObjectStore

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.catalog import DatasetSpec
    from millrace.quality.suite import Suite

log = logging.getLogger(__name__)


def new_run(now: datetime) -> str:
    """A name for one process' judgements; sorts by time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


class Auditor:
    """Audits hours of some datasets. One per task or command: it remembers what it has passed."""

    def __init__(
        self,
        store: ObjectStore,
        suites: Mapping[str, Suite],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._suites = suites
        self._clock = clock
        self._run = new_run(clock())
        self._passed: dict[tuple[str, datetime], tuple[str, Verdict]] = {}

    def __call__(
        self, dataset: DatasetSpec, hour: datetime, candidate: HourState, published: HourState
    ) -> Verdict:
        """The verdict; see `millrace.publish.audit.Audit`."""
        digest = content_digest(candidate, dataset)
        passed = self._passed.get((dataset.name, hour))
        if passed is not None and passed[0] == digest:  # the same rows again, now with a seal or final
            return passed[1]
        suite, at = self._suites[dataset.name], self._clock()
        before, weeks = neighbours(self._store, dataset, hour)
        findings = judge(
            suite,
            Hour(
                dataset,
                candidate.rows.drop(VERSION),
                hour,
                before,
                weeks,
                without_facts=_never_had_facts(candidate, published),
            ),
        )
        critical = [one for one in findings if one.is_critical]
        decision = read_decision(self._store, dataset.name, hour, digest) if critical else None
        approval = decision if decision is not None and decision.decision == "approved" else None
        outcome = _outcome(findings, approval)
        # The entry first: whoever sees the result or the red task must find the rows.
        reason = None
        if outcome == "quarantined":
            reason = self._quarantine(dataset, hour, digest, critical, decision, at)
        table = results_table(
            findings,
            dataset=dataset.name,
            hour=hour,
            run=self._run,
            at=at,
            digest=digest,
            suite=suite.digest,
            verdict=outcome,
        )
        put_results(self._store, table, dataset.name, hour)
        quality: dict[str, Any] = {"outcome": outcome, "at": at.isoformat(), "run": self._run}
        quality |= {"suite": suite.digest, **_counted(findings)}
        if approval is not None:
            quality["approved"] = {"who": approval.who, "at": approval.at.isoformat(), "why": approval.why}
        verdict = Verdict(outcome != "quarantined", quality, reason)
        for one in findings:
            if one.is_warning:
                log.warning("%s %s: %s: %s", dataset.name, hour, one.expected.says, one.observed)
        if verdict.passed:
            self._passed[dataset.name, hour] = (digest, verdict)
        return verdict

    def _quarantine(
        self,
        dataset: DatasetSpec,
        hour: datetime,
        digest: str,
        critical: Sequence[Finding],
        rejection: Decision | None,
        at: datetime,
    ) -> str:
        prefix = quarantine_prefix(dataset.name, hour, digest)
        failed = []
        for one in critical:
            key = None
            if one.failing is not None:
                key = put_failing_rows(self._store, prefix, one.expected.name, one.failing)
            failed.append(failed_expectation(one, dataset, key))
        reason = refusal_text(dataset.name, hour, digest, failed, rejection)
        entry = Entry(
            dataset=dataset.name,
            hour=hour,
            digest=digest,
            suite=self._suites[dataset.name].digest,
            run=self._run,
            at=at,
            reason=reason,
            failed=failed,
        )
        put_entry(self._store, entry)
        return reason


def auditor_of(store: ObjectStore, datasets: Sequence[DatasetSpec], directory: Path | None = None) -> Auditor:
    """An auditor with the suites of these datasets. Raises SuiteError: without a suite nothing is published."""
    suites = {one.name: load_suite(suite_file(one.name, directory), one) for one in datasets}
    return Auditor(store, suites)


def failed_expectation(one: Finding, dataset: DatasetSpec, key: str | None) -> FailedExpectation:
    """A finding as it is kept and shown: the keys of a row and what is wrong with it."""
    sample: list[dict[str, Any]] = []
    rows = 0
    if one.failing is not None:
        rows = one.failing.height
        judged = [column for _, column in columns_named(one.expected.kwargs)]
        shown = [name for name in one.failing.columns if name in dataset.keys or name in judged]
        if not set(shown) & set(dataset.keys):  # a view with other keys than the dataset: all of it
            shown = one.failing.columns
        sample = one.failing.select(shown).head(SAMPLE).to_dicts()
    return FailedExpectation(
        name=one.expected.name,
        says=one.expected.says,
        severity=one.expected.severity,
        observed=one.observed,
        rows=rows,
        object=key,
        sample=[{name: _plain(value) for name, value in row.items()} for row in sample],
    )


def _outcome(findings: Sequence[Finding], approval: Decision | None) -> str:
    if any(one.is_critical for one in findings):
        return "approved" if approval is not None else "quarantined"
    return "warning" if any(one.is_warning for one in findings) else "passed"


def _counted(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "expectations": len(findings),
        "failed": {one.expected.name: one.observed for one in findings if one.is_critical},
        "warnings": {one.expected.name: one.observed for one in findings if one.is_warning},
        "not_evaluated": [one.expected.name for one in findings if one.outcome == "not_evaluated"],
    }


def _never_had_facts(candidate: HourState, published: HourState) -> bool:
    """Sealed and empty from the beginning: an hour in which nothing was observed is rightly empty."""
    return candidate.rows.is_empty() and published.rows.is_empty() and bool(candidate.seals)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
