"""When a published object can no longer be replaced by an older one."""

from __future__ import annotations

from datetime import timedelta

from millrace.store import ObjectStore, StoredObject

SETTLED_AFTER = timedelta(minutes=10)
"""On a store that checks If-Match first and writes later, a PUT that passed its check may still land this
long after it (client time-out 60 s, server idle 30 s, one attempt, and a wide margin). Until then the
published object may yet be replaced by an older one, so nothing that it holds may be deleted."""


def is_settled(store: ObjectStore, found: StoredObject) -> bool:
    """Whether a published object is there to stay: at once where If-Match is atomic, else when old enough.

    Both times are the store's own, of one answer: the client's clock proves nothing.
    """
    return store.if_match_is_atomic or found.server_date - found.last_modified > SETTLED_AFTER
