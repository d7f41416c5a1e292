"""Opening a checkpoint: which generation it is a life of, and what state its first batch goes on from.

A checkpoint directory holds Spark's own files under `spark/` and `generation.json`, which names the
generation it belongs to. A directory without it begins a new generation. When an earlier generation
committed state, the new one goes on from there, state and offsets together: so a lost disk or another
host costs nothing, and every total stays complete.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from millrace.catalog import StreamSpec
from millrace.publish.generations import create_generation, known_generations, read_generation
from millrace.store import ObjectStore
from spark_apps.runtime.carried_state import Manifest, newest_manifest
from spark_apps.runtime.errors import BadConfiguration

MARKER = "generation.json"


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint. `base`: what batch 0 goes on from; None: from nothing."""

    directory: Path
    generation: int
    base: Manifest | None

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
            f"{base.buckets}; set it back, or reset the stream"
        )
    known = known_generations(store, spec.dataset)
    parent = base.generation if base else (max(known) if known else None)
    inherited = read_generation(store, spec.dataset, parent) if parent is not None else None
    claimed = create_generation(
        store,
        spec.dataset,
        parent=parent,
        first_complete_hour=inherited.first_complete_hour if inherited else None,
    )
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "stream": spec.name,
        "generation": claimed.generation,
        "nonce": claimed.nonce,
        "base": base.model_dump(mode="json", by_alias=True) if base else None,
    }
    temporary = marker.with_suffix(".tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(marker)  # whole or not at all: a half-written marker would orphan the generation
    return Checkpoint(directory, claimed.generation, base)


def _reopened(store: ObjectStore, spec: StreamSpec, directory: Path, marker: Path) -> Checkpoint:
    content = json.loads(marker.read_text(encoding="utf-8"))
    if content["stream"] != spec.name:
        raise BadConfiguration(
            f"{directory} is the checkpoint of stream {content['stream']}, not of {spec.name}"
        )
    known = read_generation(store, spec.dataset, content["generation"])
    if known is None or known.nonce != content["nonce"]:
        raise BadConfiguration(
            f"{directory} belongs to generation {content['generation']} of dataset {spec.dataset}, which this object "
            "store does not know: point MILLRACE_S3_ENDPOINT and MILLRACE_BUCKET to the store it was written for, "
            "or move the directory away to go on from the state that this store has"
        )
    base = Manifest.model_validate(content["base"]) if content["base"] else None
    return Checkpoint(directory, content["generation"], base)
