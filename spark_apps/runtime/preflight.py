"""Trying a version of a stream on what it would go on from, before it is allowed to: the state and the last batch.

Runs where the checkpoint is, as `python -m spark_apps.runtime.preflight --spec FILE`, in a process of its own: code
that cannot even be imported, or that kills its process, is found as well. It reads the state before the last committed
micro-batch, reads that batch again from Kafka, folds it, packs the state and encodes the facts, all in memory: what it
works on is a copy. The store it has refuses to be written to, and the checkpoint is only read.

It starts no JVM, so `driver_memory`, `master` and `spark_conf` are not tried.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace import settings
from millrace.catalog import Catalog, CatalogError, DatasetSpec, StreamSpec, load_catalog
from millrace.control.streamhost import stream_dir
from millrace.publish.landing import landing_objects
from millrace.publish.version import Version
from millrace.settings import Settings, SettingsError
from millrace.store import NotFound, ObjectStore, StoreUnavailable, open_store
from spark_apps.runtime.app import checked_fold, fold_of_app, read_spec
from spark_apps.runtime.carried_state import (
    CarriedState,
    Manifest,
    ManifestError,
    get_pack,
    manifest_of,
    newest_manifest,
    pack_hash,
)
from spark_apps.runtime.checkpoint import MARKER
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.kafka_source import TopicOffsets, check_still_held
from spark_apps.runtime.keyed_fold import KeyedFold, prepared
from spark_apps.runtime.poison import offsets_in_words, spans_in_words
from spark_apps.runtime.poisoned import REASON
from spark_apps.runtime.read_only import ReadOnly
from spark_apps.runtime.topic_range import read_range

if TYPE_CHECKING:
    import polars as pl


class Incompatible(Exception):
    """This version cannot go on from what is there; says which part of it, and why."""


@dataclass(frozen=True)
class Ground:
    """What a version would go on from: the last committed batch, and what it went on from itself."""

    last: Manifest
    before: Manifest | None
    begun_at: Mapping[str, int]
    """Partition to where the last batch began."""


def preflight(spec: StreamSpec, catalog: Catalog, found: Settings, store: ObjectStore) -> str:
    """What was tried, in words. Raises Incompatible, StoreUnavailable, and ConnectionError when Kafka is away."""
    try:
        fold = checked_fold(spec, catalog, fold_of_app)
    except CatalogError as error:
        raise Incompatible(f"the catalog's entry is refused: {error}") from None
    ground = _ground(store, spec, stream_dir(found.home, spec.name) / "checkpoint")
    if ground is None:
        return "nothing has been committed yet, so there was no state to try"
    if ground.last.buckets != spec.buckets:
        raise Incompatible(
            f"buckets is {spec.buckets}, but its state is in {ground.last.buckets}; set it back, or order reset"
        )
    _unpacked(store, fold, ground.last)
    read = f"the state of batch {ground.last.batch} was read"
    if spec.source.kind != "kafka":
        return f"{read}; {spec.source} cannot be read again, so no batch was tried"
    records, why_not = _last_batch(spec, found, ground)
    if records is None:
        return f"{read}; the batch itself was not tried again, because {why_not}"
    dataset = catalog.datasets[spec.dataset] if spec.dataset is not None else None
    same = _folded(store, fold, ground, records, dataset)
    found_same = "with the same state to the byte" if same else "with another result: it counts differently"
    return (
        f"{read}, and its {records.height} records ({offsets_in_words(spec.topic, _spans(ground))}) were counted "
        f"again, {found_same}"
    )


def _ground(store: ObjectStore, spec: StreamSpec, directory: Path) -> Ground | None:
    try:
        marker = json.loads((directory / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        marker = {"generation": 0, "base": None, "starting_offsets": None}
    try:
        last = newest_manifest(store, spec.name)
        base = manifest_of(marker["base"], str(directory / MARKER)) if marker["base"] else None
    except ManifestError as error:
        raise Incompatible(str(error)) from None
    if last is not None and last.generation < marker["generation"]:
        last = base  # a checkpoint that has committed nothing yet
    if last is None:
        return None
    if last.batch > 0:
        before = CarriedState(store, spec.name, last.generation).manifest(last.batch - 1)
        return Ground(last, before, before.offsets if before else {})
    if last is base:
        return Ground(last, None, {})
    return Ground(last, base, base.offsets if base else marker["starting_offsets"] or {})


def _unpacked(store: ObjectStore, fold: KeyedFold, manifest: Manifest) -> dict[int, Any]:
    """The state of a manifest by bucket, as this version reads it."""
    states = {}
    for bucket, ref in sorted(manifest.packs.items()):
        try:
            states[bucket] = fold.unpack(get_pack(store, ref))
        except NotFound as error:
            raise Incompatible(
                f"{error}: the state of batch {manifest.batch} is not in the store; order reset"
            ) from None
        except StoreUnavailable:
            raise
        except Exception as error:
            raise Incompatible(
                f"its transform cannot read the state of batch {manifest.batch} ({ref.key}): {_words(error)}. Mend it, "
                "or order reset, which counts the open hours anew"
            ) from None
    return states


def _last_batch(spec: StreamSpec, found: Settings, ground: Ground) -> tuple[pl.DataFrame | None, str]:
    """The records of the last batch; without them, why it cannot be tried."""
    from confluent_kafka import KafkaException

    topic = TopicOffsets(found.kafka_access, spec.topic)
    try:
        held = topic.bounds(topic.partitions())
        check_still_held(spec.topic, ground.last.offsets, held)
        if ground.before is None and ground.last.batch > 0:
            return None, f"the state before batch {ground.last.batch} is no longer kept"
        if _put_aside(ground.last) > _put_aside(ground.before):
            return None, "records of it were put aside"
        spans = _spans(ground)
        gone = [partition for partition, (first, _) in spans.items() if first < held[partition][0]]
        if gone:
            return None, f"Kafka no longer holds its records (partition {', '.join(gone)})"
        return read_range(found.kafka_access, spec.topic, spans), ""
    except BadConfiguration as error:
        raise Incompatible(str(error)) from None
    except KafkaException as error:
        raise ConnectionError(f"Kafka does not answer: {error}") from error
    finally:
        topic.close()


def _folded(
    store: ObjectStore, fold: KeyedFold, ground: Ground, records: pl.DataFrame, dataset: DatasetSpec | None
) -> bool:
    """Whether the state that comes of the batch is the one that was committed.

    Of several buckets each gets all records, as which of them belong where is known to Spark only: keys of another
    bucket are new keys to it.
    """
    last = ground.last
    states = _unpacked(store, fold, ground.before) if ground.before is not None else {}
    same = last.buckets == 1
    for bucket in sorted(last.packs):
        try:
            state = states[bucket] if bucket in states else fold.empty()
            done = fold.fold(state, prepared(fold, records))
            body = fold.pack(done.state)
        except Exception as error:
            raise Incompatible(
                f"its transform fails on the records of the last batch ({spans_in_words(_spans(ground))}): "
                f"{_words(error)}"
            ) from None
        if dataset is not None and done.facts.height:
            try:
                landing_objects(dataset, done.facts, Version(0, last.generation, last.batch), bucket)
            except Exception as error:
                raise Incompatible(
                    f"its facts do not fit the columns of {dataset.name} in catalog/datasets.yaml: {_words(error)}"
                ) from None
        same = same and pack_hash(body) == last.packs[bucket].sha256
    return same


def _spans(ground: Ground) -> dict[str, tuple[int, int]]:
    return {
        partition: (min(ground.begun_at.get(partition, 0), end), end)
        for partition, end in ground.last.offsets.items()
    }


def _put_aside(manifest: Manifest | None) -> int:
    return manifest.totals.get(f"rejected.{REASON}", 0) if manifest is not None else 0


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"


def main() -> int:
    """Prints one JSON object: `passed` (null: it could not be tried now) and `says`."""
    parser = argparse.ArgumentParser(prog="python -m spark_apps.runtime.preflight")
    parser.add_argument("--spec", type=Path, required=True)
    given = parser.parse_args()
    passed: bool | None = True
    try:
        found = settings.load()
        catalog = load_catalog(found.catalog_dir)
        says = preflight(read_spec(given.spec), catalog, found, ReadOnly(open_store(found)))
    except (Incompatible, CatalogError, SettingsError) as error:
        passed, says = False, str(error)
    except (StoreUnavailable, ConnectionError) as error:
        passed, says = None, str(error)
    print(json.dumps({"passed": passed, "says": says, "at": datetime.now(UTC).isoformat()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
