"""Opening a checkpoint: which generation it is a life of, and what state its first batch goes on from.

A checkpoint directory holds Spark's own files under `spark/` and `generation.json`, which names the
generation it belongs to. A directory without it begins a new generation. When an earlier generation
committed state, the new one goes on from there, state and offsets together: so a lost disk or another
host costs nothing, and every total stays complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from millrace.catalog import StreamSpec
from millrace.publish.generations import create_generation, known_generations, read_generation
from millrace.publish.side_by_side import in_threads
from millrace.store import NotFound, ObjectStore
from spark_apps.runtime.carried_state import Manifest, PackRef, get_pack, manifest_of, newest_manifest
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.keyed_fold import KeyedFold

MARKER = "generation.json"


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint.

    `base`: what batch 0 goes on from; None: from nothing. `starting_offsets`: partition to offset where its
    first query begins; None: at the beginning of the topic. `first_complete_hour`: facts of earlier hours
    would be partial and are not written.
    """

    directory: Path
    generation: int
    base: Manifest | None = None
    starting_offsets: Mapping[str, int] | None = None
    first_complete_hour: datetime | None = None

    @property
    def spark_directory(self) -> Path:
        return self.directory / "spark"

    def last_committed(self) -> int | None:
        """The newest batch in Spark's commit log, None before the first."""
        commits = [
            int(path.name) for path in self.spark_directory.glob("commits/[0-9]*") if path.name.isdigit()
        ]
        return max(commits, default=None)


def open_checkpoint(store: ObjectStore, spec: StreamSpec, directory: Path) -> Checkpoint:
    """The checkpoint in `directory`, made when there is none. Raises BadConfiguration."""
    marker = directory / MARKER
    if not spec.source.is_replayable and directory.exists():
        # Spark's log of what it planned to read from a socket means nothing to a new connection. A life that
        # committed nothing is gone on with: a server that is away for days must not use up the generations.
        unused = Checkpoint(directory, 0).last_committed() is None
        shutil.rmtree(directory / "spark" if unused else directory, ignore_errors=unused)
    if marker.exists():
        return _reopened(store, spec, directory, marker)
    if (directory / "spark").exists():
        raise BadConfiguration(
            f"{directory} holds a Spark checkpoint without {MARKER}: it is not one of this project's; move it away"
        )
    base = newest_manifest(store, spec.name)
    if base is not None and base.buckets != spec.buckets:
        raise BadConfiguration(
            f"catalog/streams.yaml: {spec.name}.buckets is {spec.buckets}, but the stream's state is in "
            f"{base.buckets}; set it back, or reset the stream (`millrace stream reset {spec.name}`)"
        )
    if base is not None and spec.source.needs_its_checkpoint:
        raise BadConfiguration(
            f"{directory} is not there any more, and only it knew what had been read of {spec.source}: put it back, or "
            f"`millrace stream reset {spec.name}` reads everything that is there now and counts it anew"
        )
    known = known_generations(store, spec.lineage)
    parent = base.generation if base else (max(known) if known else None)
    inherited = read_generation(store, spec.lineage, parent) if parent is not None else None
    return new_checkpoint(
        store,
        spec,
        directory,
        parent=parent,
        first_complete_hour=inherited.first_complete_hour if inherited else None,
        base=base,
        starting_offsets=base.offsets if base else None,
    )


def new_checkpoint(
    store: ObjectStore,
    spec: StreamSpec,
    directory: Path,
    *,
    parent: int | None,
    first_complete_hour: datetime | None,
    base: Manifest | None,
    starting_offsets: Mapping[str, int] | None,
) -> Checkpoint:
    """Make a generation known and begin its life in an empty directory."""
    claimed = create_generation(store, spec.lineage, parent=parent, first_complete_hour=first_complete_hour)
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "stream": spec.name,
        "generation": claimed.generation,
        "nonce": claimed.nonce,
        "base": base.model_dump(mode="json", by_alias=True) if base else None,
        "starting_offsets": dict(starting_offsets) if starting_offsets is not None else None,
    }
    marker = directory / MARKER
    temporary = marker.with_suffix(".tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(marker)  # whole or not at all: a half-written marker would orphan the generation
    return Checkpoint(directory, claimed.generation, base, starting_offsets, first_complete_hour)


def check_readable(store: ObjectStore, manifest: Manifest, fold: KeyedFold) -> None:
    """Raises BadConfiguration when this version of the transform cannot read the state of a manifest.

    Asked before the first batch: on an executor it would look like a batch that fails.
    """

    def check(ref: PackRef) -> None:
        try:
            fold.unpack(get_pack(store, ref))
        except NotFound as error:
            raise BadConfiguration(
                f"{error}: the manifest of batch {manifest.batch} names a state that is not in the store; reset the "
                f"stream (`millrace stream reset {manifest.stream}`)"
            ) from None
        except ValueError as error:
            raise BadConfiguration(f"{ref.key}: {error}") from None

    # All of them: a bucket that had no records since is still as the version before the last one wrote it.
    in_threads(check, [ref for _, ref in sorted(manifest.packs.items())])


def _reopened(store: ObjectStore, spec: StreamSpec, directory: Path, marker: Path) -> Checkpoint:
    content = json.loads(marker.read_text(encoding="utf-8"))
    if content["stream"] != spec.name:
        raise BadConfiguration(
            f"{directory} is the checkpoint of stream {content['stream']}, not of {spec.name}"
        )
    known = read_generation(store, spec.lineage, content["generation"])
    if known is None or known.nonce != content["nonce"]:
        raise BadConfiguration(
            f"{directory} belongs to generation {content['generation']} of {spec.lineage}, which this object "
            "store does not know: point MILLRACE_S3_ENDPOINT and MILLRACE_BUCKET to the store it was written for, "
            "or move the directory away to go on from the state that this store has"
        )
    base = manifest_of(content["base"], str(marker)) if content["base"] else None
    return Checkpoint(
        directory, content["generation"], base, content["starting_offsets"], known.first_complete_hour
    )
