"""Asking a person about an hour in quarantine: shows the failing rows, keeps who decided what, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowFailException

from millrace_airflow import access

if TYPE_CHECKING:
    from millrace.quality.quarantine import Entry

APPROVE, REJECT, LATER = "Approve", "Reject", "Decide later"
WHY = "why"
ANSWER_WITHIN = timedelta(hours=24)
"""A run waits no longer, so that the next one can ask about newer hours too; no answer is *Decide later*."""


class ReviewQuarantineOperator(HITLOperator):
    """Asks about one entry, `{"name", "dataset", "hour", "digest"}`, and writes the decision to the store.

    The rows are read when the task runs. They came from outside, so nothing here is a template.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, entry: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(
            subject=f"In quarantine: {entry['name']}" if isinstance(entry, Mapping) else "In quarantine",
            options=[APPROVE, REJECT, LATER],
            defaults=[LATER],
            response_timeout=ANSWER_WITHIN,
            params={
                WHY: Param(
                    "",
                    type="string",
                    title="Reason",
                    description="Why these rows are right, or wrong. Kept with your name; needed to approve or reject.",
                    source="task",
                )
            },
            **kwargs,
        )
        self.entry = entry

    def execute(self, context: Context) -> Any:
        from millrace.quality.quarantine import Entry, entry_key

        where = (self.entry["dataset"], datetime.fromisoformat(self.entry["hour"]), self.entry["digest"])
        store = access.store_of(access.current_settings())
        self.body = question(Entry.model_validate_json(store.get(entry_key(*where)).body))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        answer = super().execute_complete(context, event)
        chosen = answer["chosen_options"][0]
        if chosen == LATER:
            self.log.info("%s: nothing was decided; the hour stays in quarantine", self.entry["name"])
            return chosen
        why = str(answer["params_input"].get(WHY) or "").strip()
        if not why:
            raise AirflowFailException(
                f"{self.entry['name']}: {chosen!r} was chosen without a reason, so nothing was decided. "
                "Trigger review_quarantine again and fill in the reason"
            )
        self._keep(chosen, why, answer["responded_by_user"], answer["responded_at"])
        return chosen

    def _keep(self, chosen: str, why: str, user: Mapping[str, str] | None, at: datetime) -> None:
        from millrace.quality.quarantine import Decision, put_decision

        decision = Decision(
            decision="approved" if chosen == APPROVE else "rejected",
            dataset=self.entry["dataset"],
            hour=datetime.fromisoformat(self.entry["hour"]),
            digest=self.entry["digest"],
            who=user["name"] if user else "unknown",
            at=at.astimezone(UTC),
            why=why,
        )
        key = put_decision(access.store_of(access.current_settings()), decision)
        self.log.info("%s by %s: %s (kept as %s)", decision.decision, decision.who, why, key)


def find_waiting() -> list[dict[str, str]]:
    """What waits for a decision, oldest hour first: one mapped question each."""
    from millrace.catalog import load_catalog
    from millrace.quality.quarantine import waiting_entries

    settings = access.current_settings()
    store = access.store_of(settings)
    return [
        {
            "name": f"{entry.dataset} {entry.hour:%Y-%m-%d %H}h",
            "dataset": entry.dataset,
            "hour": entry.hour.isoformat(),
            "digest": entry.digest,
        }
        for dataset in load_catalog(settings.catalog_dir).datasets.values()
        for entry in waiting_entries(store, dataset)
    ]


def question(entry: Entry) -> str:
    """What the form shows (Markdown): each failed expectation with its rows, and what each answer does."""
    parts = [
        f"**{entry.dataset}, {entry.hour:%Y-%m-%d %H:00} UTC** failed {len(entry.failed)} critical "
        f"expectation(s) at {entry.at:%Y-%m-%d %H:%M} UTC. Nothing of it is published."
    ]
    for one in entry.failed:
        parts.append(f"**{_cell(one.name)}**: {_cell(one.says)}. Failed: {_cell(one.observed)}")
        if one.sample:
            names = list(one.sample[0])
            lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
            lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in one.sample]
            parts.append("\n".join(lines))
        if one.rows > len(one.sample):
            parts.append(f"... and {one.rows - len(one.sample):,} more; all of them in `{one.object}`")
    parts.append(
        f"*{APPROVE}*: the rows are right; exactly this content is published by the next run of "
        f"`compact_hourly`. *{REJECT}*: they are wrong; the hour stays as it was until newer facts arrive or the "
        "landing objects are moved aside. Give a reason for either."
    )
    return "\n\n".join(parts)


def _cell(value: object) -> str:
    """Text from outside as plain text in a Markdown table."""
    text = str(value).replace("\n", " ")
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, "\\" + sign)
    return text
