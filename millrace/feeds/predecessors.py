"""Waiting for the earlier instances of a feed.

Most feeds go on after the newest message in Kafka: two that send at once would send the same numbers twice, and a
successor must not look there before the one before it has delivered its last.
"""

from __future__ import annotations

import logging
import os
import socket
from datetime import timedelta

from millrace.control.epochs import observe_epoch
from millrace.control.lease import patience_with
from millrace.control.status import observe_status
from millrace.feeds.stop import Stop
from millrace.store import ObjectStore, StoreUnavailable

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5
LOOKED_AT = 10
"""So many epochs before one's own: the one before may have died while it waited for the one before that. More lives
than that do not fit into the time for which any of them is waited for."""


def wait_for_predecessors(
    store: ObjectStore, name: str, epoch: int, silent_after: timedelta, stop: Stop
) -> None:
    """Return when nobody with an earlier epoch can still send, or when `stop` is set. While the store does not answer
    that is not known, and it waits as well."""
    waits_for = list(range(max(1, epoch - LOOKED_AT), epoch))
    told = ""
    while waits_for and not stop.is_set:
        try:
            waits_for = [one for one in waits_for if _may_send(store, name, one, silent_after)]
            says = f"waits until feed epoch {', '.join(map(str, waits_for))} has ended"
        except StoreUnavailable as error:
            says = f"waits, since it is not known whether an earlier one still sends: {error}"
        if not waits_for:
            return
        if says != told:
            told = says
            log.info("%s: %s", name, says)
        stop.wait(LOOK_EVERY)


def _may_send(store: ObjectStore, name: str, epoch: int, silent_after: timedelta) -> bool:
    """Whether it may still send: it sees a greater epoch at its next heartbeat, delivers what it has and ends; it
    falls silent by itself when it cannot see any."""
    seen = observe_status(store, name, epoch)
    if seen is not None:
        lease = seen.status.feed.lease_seconds if seen.status.feed else None
        patience = max(silent_after, patience_with(lease or 0))
        gone = seen.status.ended or seen.age > patience
        return not gone and _may_be_alive(seen.status.host, seen.status.pid)
    claim = observe_epoch(store, name, epoch)
    if claim is None or claim.age > silent_after:
        return False
    return _may_be_alive(claim.claim.host, claim.claim.pid)


def _may_be_alive(host: str, pid: int) -> bool:
    """Whether a process may still run: on another host, or here under its process id."""
    if host != socket.gethostname():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()
