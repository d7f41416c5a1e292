"""What people have ordered: `control/<stream>/orders/<spec_revision>.json`, created once and never changed.

Beside the order of a reset or a redeploy stands how it ended, since it is carried out later, where the driver begins.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field

from millrace.control.layout import (
    ControlObject,
    UtcDatetime,
    number_of,
    order_key,
    orders_prefix,
    outcome_key,
    parse,
)
from millrace.store import NotFound, ObjectStore, PreconditionFailed

OrderAction = Literal["start", "stop", "restart", "redeploy", "reset"]
ACTIONS: tuple[OrderAction, ...] = ("start", "stop", "restart", "redeploy", "reset")
CARRIED_OUT_LATER = frozenset({"redeploy", "reset"})
"""Where the next driver begins; they may be refused there, and have an outcome."""


class Order(ControlObject):
    """Who ordered what, and why."""

    spec_revision: int = Field(ge=1)
    """Of the desired state that the order asked for."""
    decided_on: int = Field(ge=0)
    """The revision that it changes; 0: there was none."""
    action: OrderAction
    who: str
    why: str
    at: UtcDatetime
    """By the clock of whoever ordered."""
    changes: tuple[str, ...] = ()
    """What of the configuration it changes, a key each."""


class Outcome(ControlObject):
    """How a reset or a redeploy ended. `refused`: the stream goes on as it was."""

    outcome: Literal["done", "refused"]
    says: str
    at: UtcDatetime


@dataclass(frozen=True)
class StoredOrder:
    """An order with its age by the store's clock, and its outcome if it has one."""

    order: Order
    written_at: datetime
    read_at: datetime
    outcome: Outcome | None = None


def newest_order_number(store: ObjectStore, stream: str) -> int:
    """The greatest revision that was ever ordered, 0 for none."""
    return max(_numbers(store, stream), default=0)


def read_order(store: ObjectStore, stream: str, revision: int) -> StoredOrder | None:
    """An order with its outcome, or None when nobody ordered that revision. Raises ControlObjectError."""
    key = order_key(stream, revision)
    try:
        found = store.get(key)
    except NotFound:
        return None
    order = parse(Order, found.body, key)
    outcome = read_outcome(store, stream, revision) if order.action in CARRIED_OUT_LATER else None
    return StoredOrder(order, found.last_modified, found.server_date, outcome)


def read_orders(store: ObjectStore, stream: str, *, newest: int) -> list[StoredOrder]:
    """The last so many orders, oldest first."""
    found = (
        read_order(store, stream, revision) for revision in sorted(_numbers(store, stream))[-max(newest, 1) :]
    )
    return [one for one in found if one is not None]


def put_order(store: ObjectStore, stream: str, order: Order) -> None:
    """Keep an order. Raises PreconditionFailed when its revision has been ordered by somebody else."""
    store.put(order_key(stream, order.spec_revision), order.to_body(), if_absent=True)


def took_effect(order: Order, following: Order | None, present: int) -> bool:
    """Whether the desired state ever was what was ordered; `present` is its revision now.

    An order is kept before the desired state is changed, and whoever does both may die in between.
    """
    if following is None:
        return present >= order.spec_revision
    return following.decided_on >= order.spec_revision


def read_outcome(store: ObjectStore, stream: str, revision: int) -> Outcome | None:
    """How the reset or redeploy of a revision ended; None while it has not been carried out."""
    key = outcome_key(stream, revision)
    try:
        return parse(Outcome, store.get(key).body, key)
    except NotFound:
        return None


def put_outcome(store: ObjectStore, stream: str, revision: int, outcome: Outcome) -> None:
    """Keep how a reset or a redeploy ended; the first word stands."""
    with suppress(PreconditionFailed):
        store.put(outcome_key(stream, revision), outcome.to_body(), if_absent=True)


def _numbers(store: ObjectStore, stream: str) -> list[int]:
    numbers = (number_of(found.key) for found in store.list_objects(orders_prefix(stream)))
    return [number for number in numbers if number is not None]
