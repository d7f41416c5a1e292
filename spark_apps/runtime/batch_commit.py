"""What a micro-batch adds up to: the manifest that commits it and the hours it seals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from millrace.catalog import StreamSpec
from spark_apps.runtime.carried_state import Manifest
from spark_apps.runtime.clock import Sealing, SourceClock, hours_to_seal, newest_clocks, watermark
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.micro_batch import BucketSummary


@dataclass(frozen=True)
class Commit:
    """Seal `sealing.hours` first, then create the manifest: it says that they are sealed."""

    manifest: Manifest
    sealing: Sealing


def next_commit(
    spec: StreamSpec, generation: int, batch: int, before: Manifest | None, summaries: Sequence[BucketSummary]
) -> Commit:
    """Join what the buckets report with the batch before. Depends on nothing else: a retry repeats it.

    Raises BadConfiguration when the records were already in the state: checkpoint and state do not match.
    """
    offsets = dict(before.offsets) if before else {}
    for summary in summaries:
        for partition, first in summary.first_offsets.items():
            known = before.offsets.get(partition, 0) if before else 0
            if first < known:
                raise BadConfiguration(
                    f"batch {batch} reads {spec.topic} partition {partition} from offset {first}, but the state "
                    f"already holds it up to {known}: this checkpoint and this state do not belong together; "
                    "move the checkpoint directory away to go on from the state"
                )
        for partition, following in summary.next_offsets.items():
            offsets[partition] = max(following, offsets.get(partition, 0))
    clocks: dict[str, SourceClock] = {}
    if before:
        clocks = {name: SourceClock(*clock) for name, clock in before.clocks.items()}
    for summary in summaries:
        clocks = newest_clocks(clocks, summary.clocks)
    sealing = hours_to_seal(
        watermark(clocks.values(), spec.late_by, spec.idle_after),
        fact_hours=[hour for summary in summaries for hour in summary.fact_hours],
        open_hours=before.open_hours if before else (),
        sealed_before=before.sealed_before if before else None,
    )
    totals = Counter(before.totals if before else {})
    for summary in summaries:
        totals["records"] += summary.records
        totals["observations"] += summary.observations
        totals["facts"] += summary.facts
        totals.update({f"rejected.{reason}": count for reason, count in summary.rejected.items()})
    manifest = Manifest(
        schema=1,
        stream=spec.name,
        generation=generation,
        batch=batch,
        buckets=spec.buckets,
        packs=dict(
            sorted({**(before.packs if before else {}), **{s.bucket: s.pack for s in summaries}}.items())
        ),
        offsets=dict(sorted(offsets.items())),
        clocks={name: (c.newest_at, c.heard_at, c.ended) for name, c in sorted(clocks.items())},
        open_hours=list(sealing.open_hours),
        sealed_before=sealing.sealed_before,
        totals=dict(sorted(totals.items())),
    )
    return Commit(manifest, sealing)
