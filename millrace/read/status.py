"""An hour's status, from the footer of its object alone: whether to act on it, and whether to do so again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from millrace.publish.codec import FOOTER_KEY, FormatError
from millrace.publish.expire import read_horizon, refuse_expired
from millrace.publish.hour import VERSION
from millrace.publish.layout import published_key, whole_hour
from millrace.publish.settled import SETTLED_AFTER
from millrace.store import NotFound, ObjectStore, StoredObject

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

Status = Literal["unpublished", "provisional", "final", "amending", "expired"]


@dataclass(frozen=True)
class HourStatus:
    """What a reader may rely on.

    Act on hours that are `final` and `settled`, remember `rev`, and redo the work when it grows.
    """

    hour: datetime
    """Aware UTC."""
    status: Status
    rev: int = 0
    """Grows with every change of the hour; 0: nothing is published."""
    rows: int = 0
    settled: bool = True
    """False: the store does not write conditionally in one step, and so short a while after a write an older
    one may still take its place."""
    quality: Mapping[str, Any] | None = None
    """What the audit found; None: not audited."""

    @property
    def is_final(self) -> bool:
        """Whether the hour may be acted on."""
        return self.status == "final" and self.settled


def status_of(store: ObjectStore, dataset: DatasetSpec, hour: datetime) -> HourStatus:
    """The status of one hour (aware UTC, whole).

    Raises HourExpired before the retention horizon, FormatError for an object that is no published hour.
    """
    hour = whole_hour(hour)
    key = published_key(dataset.prefix, hour)
    try:
        found = store.get(key)
    except NotFound:
        found = None
    # After the GET: an expired hour's empty object goes only when the horizon has passed it.
    refuse_expired(read_horizon(store, dataset), dataset, hour)
    if found is None:
        return HourStatus(hour, "unpublished")
    return status_in(found, key, hour, atomic=store.if_match_is_atomic)


def status_in(found: StoredObject, key: str, hour: datetime, *, atomic: bool) -> HourStatus:
    """The status that a published object's footer says. Raises FormatError."""
    footer, newest, rows = _footer(found.body, key)
    status: Status
    if footer["expired"]:
        status = "expired"
    elif footer["final"] is None:
        status = "provisional"
    elif newest is not None and newest > footer["final"]:
        status = "amending"
    else:
        status = "final"
    # Both times are the store's own: the reader's clock proves nothing.
    settled = atomic or found.server_date - found.last_modified > SETTLED_AFTER
    return HourStatus(hour, status, int(footer["rev"]), rows, settled, footer.get("quality"))


def is_expired(body: bytes, key: str) -> bool:
    """Whether a published object is the empty one of an expired hour. Raises FormatError."""
    return bool(_footer(body, key)[0]["expired"])


def _footer(body: bytes, key: str) -> tuple[dict[str, Any], int | None, int]:
    """The footer's marks, the newest version among the rows, and their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(io.BytesIO(body))
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(f"{key}: not a Parquet object: {error}") from error
    raw = (metadata.metadata or {}).get(FOOTER_KEY)
    if raw is None or VERSION not in metadata.schema.names:
        raise FormatError(f"{key}: not a published hour: its footer has no {FOOTER_KEY.decode()!r} entry")
    column = metadata.schema.names.index(VERSION)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    statistics = [group.column(column).statistics for group in groups if group.num_rows]
    newest = max((int(found.max) for found in statistics), default=None)
    return cast(dict[str, Any], json.loads(raw)), newest, int(metadata.num_rows)
