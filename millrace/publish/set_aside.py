"""Objects in landing that cannot be counted: kept elsewhere with the reason, so that their hour goes on."""

from __future__ import annotations

import json
import logging

from millrace.store import NotFound, ObjectStore

log = logging.getLogger(__name__)


def set_aside(store: ObjectStore, key: str, to: str, reason: str) -> bool:
    """Move a landing object below `to`, with `<its name>.reason.json` beside it; False when it is gone.

    Copied first and deleted last: a publisher that dies in between, or two at once, leave it twice at most.
    """
    kept = key.replace("landing/", to, 1)
    try:
        found = store.get(key)
    except NotFound:
        return False
    explained = {
        "object": key,
        "reason": reason,
        "bytes": len(found.body),
        "last_modified": found.last_modified.isoformat(),
        "set_aside_at": found.server_date.isoformat(),
        "what_to_do": f"mend its cause; to have it counted after all, copy it back to {key}",
    }
    log.error("set aside %s as %s: %s", key, kept, reason)
    store.put(kept, found.body)
    store.put(f"{kept}.reason.json", json.dumps(explained, indent=1).encode())
    store.delete(key)
    return True
