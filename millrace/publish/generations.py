"""Generations: one per life of a checkpoint, made known before its first fact.

A generation that began in the middle of an hour holds only a part of that hour's totals, yet its facts
would win by version; so it says from which hour on its totals are complete, and earlier facts are void.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from millrace.publish.layout import generation_key
from millrace.store import NotFound, ObjectStore, PreconditionFailed


class Generation(BaseModel):
    """What `generations/<dataset>/<g>.json` holds."""

    model_config = ConfigDict(frozen=True)
    generation: int
    parent: int | None
    first_complete_hour: AwareDatetime | None
    """UTC; None: complete from the beginning."""
    nonce: str


def create_generation(
    store: ObjectStore, dataset: str, *, parent: int | None, first_complete_hour: datetime | None
) -> Generation:
    """Claim the next number. Safe when several do so at once: each gets its own."""
    while True:
        number = max(known_generations(store, dataset), default=0) + 1
        claim = Generation(
            generation=number,
            parent=parent,
            first_complete_hour=first_complete_hour,
            nonce=secrets.token_hex(8),
        )
        key = generation_key(dataset, number)
        try:
            store.put(key, claim.model_dump_json().encode(), if_absent=True)
        except PreconditionFailed:
            continue
        return claim


def known_generations(store: ObjectStore, dataset: str) -> list[int]:
    """The numbers of all generations of a dataset, ascending."""
    prefix = f"generations/{dataset}/"
    return sorted(int(item.key[len(prefix) :].split(".")[0]) for item in store.list_objects(prefix))


def read_generation(store: ObjectStore, dataset: str, number: int) -> Generation | None:
    """What a generation said of itself, or None when nobody made it known."""
    try:
        return Generation.model_validate_json(store.get(generation_key(dataset, number)).body)
    except NotFound:
        return None
