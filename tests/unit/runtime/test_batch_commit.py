from datetime import timedelta

from millrace.catalog import StreamSpec
from spark_apps.runtime.batch_commit import next_commit
from spark_apps.runtime.carried_state import Manifest, PackRef
from spark_apps.runtime.clock import SourceClock
from spark_apps.runtime.micro_batch import BucketSummary
from spark_apps.runtime.progress import Progress

SPEC = StreamSpec(name="s", app="s", source="kafka://t", dataset="d", buckets=2, late_by=timedelta(hours=2))
HOUR = 3600


def summary(
    bucket: int, first: int, following: int, *, newest: int, hours: list[int], late: int = 0
) -> BucketSummary:
    return BucketSummary(
        bucket=bucket,
        pack=PackRef(key=f"pack-{bucket}-{following}", sha256="0", size=1),
        first_offsets={"0": first},
        next_offsets={"0": following},
        clocks={f"system-{bucket}": SourceClock(newest, following)},
        fact_hours=hours,
        records=following - first,
        observations=10,
        facts=len(hours),
        rejected={"too_late": late} if late else {},
        seconds={},
    )


def test_buckets_share_a_partition_and_the_others_keep_what_they_had() -> None:
    first = next_commit(
        SPEC,
        1,
        0,
        None,
        [summary(0, 0, 3, newest=5 * HOUR, hours=[4, 5]), summary(1, 1, 9, newest=9 * HOUR, hours=[9])],
    )
    assert first.manifest.offsets == {"0": 9}
    assert first.sealing.hours == ()
    assert first.manifest.open_hours == [4, 5, 9]
    second = next_commit(SPEC, 1, 1, first.manifest, [summary(0, 9, 12, newest=8 * HOUR, hours=[7], late=2)])
    assert second.manifest.packs[1] == first.manifest.packs[1]
    assert second.sealing.hours == (4, 5)
    assert (second.manifest.sealed_before, second.manifest.open_hours) == (6, [7, 9])
    assert second.manifest.totals == {"facts": 4, "observations": 30, "records": 14, "rejected.too_late": 2}


def test_a_retry_makes_the_same_manifest_to_the_byte() -> None:
    summaries = [summary(1, 0, 3, newest=5 * HOUR, hours=[4]), summary(0, 0, 3, newest=6 * HOUR, hours=[5])]
    one = next_commit(SPEC, 1, 0, None, summaries)
    other = next_commit(SPEC, 1, 0, None, summaries[::-1])
    assert one.manifest.body() == other.manifest.body()
    assert Manifest.model_validate_json(one.manifest.body()) == one.manifest


def test_progress_adds_up_what_was_committed() -> None:
    progress = Progress()
    assert progress.snapshot()["batch_seconds_p50"] is None
    done = summary(0, 0, 3, newest=5 * HOUR, hours=[4], late=2)
    for number, seconds in enumerate([0.1, 0.2, 0.9]):
        progress.batch_done(next_commit(SPEC, 1, number, None, [done]), [done], seconds)
    found = progress.snapshot()
    assert (found["batches"], found["records"], found["facts"], found["rejected"]) == (
        3,
        9,
        3,
        {"too_late": 6},
    )
    assert (found["last_batch_id"], found["batch_seconds_p50"], found["batch_seconds_p99"]) == (2, 0.2, 0.9)
    assert progress.next_offsets == {"0": 3}
