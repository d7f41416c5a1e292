"""Ordering a stream to start, stop, restart, be redeployed or be reset: the one place where desired state changes.

`next_desired` decides, purely; `give_order` writes. The command line, the DAG `stream_control` and a page
call the same function. Carrying an order out is supervision's business (`millrace.control.follow`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace.catalog import StreamSpec
from millrace.control.desired import DesiredState, Version, write_desired
from millrace.control.health import Health, in_words
from millrace.control.orders import Order, OrderAction, newest_order_number, put_order, read_order
from millrace.control.outdated import config_of, differences
from millrace.control.supervised import Supervised, SupervisedFeed, is_feed, spec_of
from millrace.control.view import read_view_to_change
from millrace.store import ObjectStore, PreconditionFailed

NEW_GENERATION = ("source", "buckets")
"""Keys that the state of a checkpoint depends on: with another value its offsets or packs mean nothing."""
UNDER_WAY = timedelta(seconds=30)
"""How long an order that has not reached the desired state yet is taken for under way; two PUTs are far
quicker, so an older one was given by somebody who died in between."""
ENDED = frozenset({"stopped", "failed", "fenced"})
"""A driver that does not end may be ordered to once more."""
AT_WORK = frozenset({"idle", "running", "lagging", "starting"})

Check = Callable[[StreamSpec], None]
"""Raises OrderRefused."""


class OrderRefused(Exception):
    """Nothing was changed; the message says why, and what to do instead."""


@dataclass(frozen=True)
class Given:
    """An order that was given."""

    stream: str
    order: Order
    desired: DesiredState


def give_order(
    store: ObjectStore,
    streams: Mapping[str, Supervised],
    stream: str,
    action: OrderAction,
    *,
    who: str,
    why: str,
    check_reset: Check,
    seen_revision: int | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Given:
    """Change the desired state of a stream, and keep who ordered it, when and why.

    `streams`: the catalog's, and its feeds. `check_reset` is asked before a reset whether it can be done at all.
    `seen_revision`: the one that the person was looking at; with another one in force the order is refused.

    Raises OrderRefused, StoreUnavailable (then whether it was given shows in `millrace stream history`), and
    ControlObjectError.
    """
    spec = streams.get(stream)
    if spec is None:
        raise OrderRefused(
            f"there is no stream {stream!r} in the catalog, and no feed; there are: {', '.join(sorted(streams))}"
        )
    view, etag = read_view_to_change(store, stream, clock(), spec.rules)
    present = view.desired.spec_revision if view.desired else 0
    if seen_revision is not None and seen_revision != present:
        raise OrderRefused(_overtaken(stream, view.desired))
    newest = newest_order_number(store, stream)
    if newest > present:
        _refuse_if_under_way(store, stream, newest)
    desired = next_desired(
        action,
        spec,
        view.desired,
        view.health,
        revision=max(present, newest) + 1,
        who=who,
        why=why,
        at=clock(),
        began=view.status.status.spec_revision if view.status else 0,
    )
    if action == "reset":
        _check_reset(spec_of(desired.config), check_reset)
    order = Order(
        spec_revision=desired.spec_revision,
        decided_on=present,
        action=action,
        who=who,
        why=why,
        at=desired.at,
        changes=tuple(differences(view.desired.config, desired.config)) if view.desired else (),
    )
    try:
        # Kept first, and create-only: two people who order in the same moment cannot both pass here, also
        # on a store whose If-Match is not atomic.
        put_order(store, stream, order)
        write_desired(store, stream, desired, replacing=etag)
    except PreconditionFailed:
        now = read_view_to_change(store, stream, clock(), spec.rules)[0].desired
        raise OrderRefused(_overtaken(stream, now)) from None
    return Given(stream, order, desired)


def next_desired(
    action: OrderAction,
    spec: Supervised,
    desired: DesiredState | None,
    health: Health,
    *,
    revision: int,
    who: str,
    why: str,
    at: datetime,
    began: int | None = None,
) -> DesiredState:
    """The desired state after an order. Pure. `spec` is the catalog's entry; raises OrderRefused.

    `began`: the revision of the newest driver; None: the one in force.
    """
    name = spec.name
    if desired is None:
        if action != "start":
            raise OrderRefused(f"{name} has never been deployed, so there is nothing to {action}; start it")
        return DesiredState(
            state="running", spec_revision=revision, config=config_of(spec), who=who, why=why, at=at
        )
    said = f"{desired.who}, {desired.at:%Y-%m-%d %H:%M} UTC: {desired.why}"
    changed = {"spec_revision": revision, "who": who, "why": why, "at": at}
    match action:
        case "start":
            if desired.state == "running" and health.state in AT_WORK:
                raise OrderRefused(f"{name} runs already ({health}); to begin it anew, order restart")
            changed |= {"state": "running"}
        case "stop":
            if desired.state == "stopped" and health.state in ENDED:
                raise OrderRefused(f"{name} is to be stopped already ({said}); now it is {health}")
            changed |= {"state": "stopped"}
        case "restart":
            if desired.state == "stopped":
                raise OrderRefused(f"{name} is stopped ({said}); to run it, order start")
        case "redeploy":
            _refuse_if_state_would_not_fit(spec, desired)
            changed |= {"config": config_of(spec), **_to_be_tried(spec, desired, revision, began)}
        case "reset":
            if isinstance(spec, SupervisedFeed):
                raise OrderRefused(
                    f"{name} is a feed and counts nothing, so there is nothing to reset: what it has sent is in "
                    "Kafka, and it goes on after that. To run it anew, order restart"
                )
            if not spec.source.is_replayable:
                raise OrderRefused(
                    f"{name} reads {spec.source}, which cannot be read again, so nothing could be counted anew"
                )
            if desired.state == "stopped" and health.state not in ("stopped", "failed", "fenced", "silent"):
                raise OrderRefused(f"{name} is still ending ({health}); reset it when it has stopped")
            changed |= {
                "config": config_of(spec),
                "reset_revision": revision,
                "redeploy_revision": 0,
                "previous": None,
                "code": None,
            }
    return desired.model_copy(update=changed)


def what_is_next(given: Given, health: Health) -> str:
    """What happens after an order, for the person who gave it."""
    if is_feed(given.stream):
        return _what_a_feed_does(given, health)
    name, state = given.stream, given.desired.state
    match given.order.action:
        case "start":
            return f"{name} is started from where it stopped; its first micro-batch takes some 15 s"
        case "stop":
            return (
                f"the driver of {name} finishes its micro-batch, commits and ends; it reads on from there when it "
                "is started again"
            )
        case "redeploy" if state == "running":
            return (
                f"the driver of {name} finishes its micro-batch and ends; the new version is tried on its state and "
                "its last micro-batch, and reads on from there; if it cannot, the old one does"
            )
        case "restart" if state == "running":
            return f"the driver of {name} finishes its micro-batch and ends; the next one reads on from there"
        case "reset" if state == "running":
            return (
                f"the driver of {name} finishes its micro-batch and ends; before the next one begins, the state is set "
                f"aside, and {_anew(given.desired)}"
            )
    later = "reset" if given.order.action == "reset" else "deployed like this"
    return f"{name} stays stopped ({health.state}); it is {later} when it is started next"


def _to_be_tried(
    spec: Supervised, desired: DesiredState, revision: int, began: int | None
) -> dict[str, object]:
    """That the new version is tried before it begins, and what to go back to: what ran last."""
    if not isinstance(spec, StreamSpec):
        return {}
    waits = began is not None and began < desired.redeploy_revision
    ran = desired.previous if waits else Version(config=desired.config, code=desired.code)
    return {"redeploy_revision": revision, "previous": ran, "code": None}


def _what_a_feed_does(given: Given, health: Health) -> str:
    name = given.stream
    if given.desired.state == "stopped":
        if given.order.action == "stop":
            return f"{name} delivers what it has to Kafka and ends, until it is started again"
        return f"{name} stays stopped ({health.state}); it is deployed like this when it is started next"
    if given.order.action == "start":
        return f"{name} is started and goes on after what it has sent"
    return f"{name} delivers what it has to Kafka and ends; the next one goes on after that"


def _check_reset(spec: Supervised, check: Check) -> None:
    if isinstance(spec, StreamSpec):
        check(spec)


def _anew(desired: DesiredState) -> str:
    if str(desired.config.get("source", "")).startswith("kafka:"):
        return "the open hours are counted anew from Kafka"
    return "everything that its source still has is counted anew"


def _refuse_if_state_would_not_fit(spec: Supervised, desired: DesiredState) -> None:
    if isinstance(spec, SupervisedFeed):
        return
    wanted = config_of(spec)
    unfit = {
        key: wanted[key] for key in NEW_GENERATION if desired.config.get(key, wanted[key]) != wanted[key]
    }
    if unfit and spec.source.is_replayable:
        raise OrderRefused(
            f"{spec.name}: its state does not fit what catalog/streams.yaml says now: "
            f"{'; '.join(differences({**wanted, **{k: desired.config[k] for k in unfit}}, wanted))}. Set it back, or "
            "order reset, which counts anew; it goes on as deployed"
        )


def _refuse_if_under_way(store: ObjectStore, stream: str, newest: int) -> None:
    other = read_order(store, stream, newest)
    if other is not None and other.read_at - other.written_at < UNDER_WAY:
        order = other.order
        raise OrderRefused(
            f"{order.who} ordered {order.action} {in_words(other.read_at - other.written_at)} ago ({order.why}), which "
            "is not in force yet: look at `millrace stream status` and order again if it is still needed"
        )


def _overtaken(stream: str, now: DesiredState | None) -> str:
    if now is None:
        return f"{stream}: somebody else changed it in the same moment: look again, and order again"
    return (
        f"{stream}: {now.who} changed its desired state to {now.state} in the meantime (revision {now.spec_revision}): "
        f"{now.why}. Look again, and order again if it is still needed"
    )
