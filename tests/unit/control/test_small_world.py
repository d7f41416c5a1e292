"""Whatever happens to drivers, clocks, store, host and Airflow: no hot loop, no forgotten stream, no second driver.

The world is simulated (`small_world.py`), what decides is not.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from millrace.control.desired import load_desired
from millrace.control.history import load_history
from tests.unit.control.small_driver import STREAM, Driver, Fate
from tests.unit.control.small_host import Broken
from tests.unit.control.small_world import World

TROUBLE = 1200
"""Seconds in which things go wrong."""
PATIENCE = 1700
"""Seconds after them until the stream must be as desired: a slow retry of an open circuit comes every 15 min, the
start and a stop that takes too long need 4, and a watcher may hold still for 10."""
STEADY = 180
WINDOW = 600
MOST_BIRTHS = 26
"""Lives of drivers in any window: of the first start six, and then two to each step of the back-off."""
PER_EVENT = 8
"""More of them for each order of a person, step of a clock or new stream host: it begins a new series."""


WITHOUT_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]
"""An example takes a second, and its events stand in the report as they are."""


def live(fates: list[Fate], events: list[tuple]) -> World:
    """Live through it; raises Broken at what must never happen."""
    world = World(
        fates=list(fates), events=[(at, happening) for at, happening, _ in events], peace_at=TROUBLE + 300
    )
    world.run(TROUBLE + 300)
    until = world.t + PATIENCE
    while (problem := _other_than_desired(world)) and world.t < until:
        world.run(world.t + 10)
    settled = world.t
    world.run(world.t + STEADY)
    if problem := problem or _other_than_desired(world):
        raise Broken(f"{PATIENCE} s after all trouble {problem}")
    if world.births(settled, world.t):
        raise Broken("it was started again though nothing had happened")
    new_matters = 1 + world.people + sum(name in ("clock", "host") for _, _, name in events)
    for driver in world.drivers:
        births = world.births(driver.born, driver.born + WINDOW)
        if births > MOST_BIRTHS + PER_EVENT * new_matters:
            raise Broken(f"a hot loop: {births} drivers within {WINDOW} s from {driver.born:.0f} s")
    return world


def _other_than_desired(world: World) -> str | None:
    wanted = load_desired(world.store, STREAM)
    assert wanted is not None
    stopped = wanted.desired.state == "stopped"
    alive = [one for one in world.drivers if one.alive and not _out_of_reach(world, one, stopped)]
    if stopped:
        return f"it is to be stopped, and {len(alive)} drivers live" if alive else None
    # A process beside one that works, which hung before it had claimed an epoch, is found by the next shift.
    at_work = sum(one.running and not one.is_("mute") for one in alive)
    if at_work != 1:
        return f"it is to run, and {len(alive)} drivers live, of which {at_work} work"
    if any(one.running and one.orphan and not one.is_("mute") for one in alive):
        return "the one at work has outlived its host, and nobody has followed it"
    return None


def _out_of_reach(world: World, driver: Driver, stopped: bool) -> bool:
    """Whether it outlived its host and hears nothing: nobody can end it, and fencing is what keeps it from
    committing. One that works and that nobody has followed does its work."""
    if not driver.orphan:
        return False
    if driver.is_("hangs") or driver.said_all:
        return True
    newest = max(one.epoch or 0 for one in world.drivers)
    return driver.is_("deaf") and (stopped or (driver.epoch or 0) < newest)


fates = st.lists(
    st.builds(
        Fate,
        after=st.sampled_from([0, 1, 4, 10, 30, 120, 700]),
        kind=st.sampled_from(["lives", "crash", "crash", "hangs", "deaf", "mute", "lingers"]),
        code=st.sampled_from([1, -9, 11, 12]),
        stops_in=st.sampled_from([1, 10, 50, 90]),
        tries_for=st.sampled_from([3, 3, 40, 130, 2000]),
    ),
    max_size=40,
)
crash_loops = st.builds(
    lambda after, code: [Fate(after, "crash", code)] * 200,
    st.sampled_from([0, 3, 5, 20, 45, 100]),
    st.sampled_from([1, 11, 13]),
)


def lasting(begin, end, seconds):
    """Something that begins now and is over some seconds later."""

    def happens(world: World) -> None:
        begin(world)
        world._events.append((world.t + seconds, end))
        world._events.sort(key=lambda event: event[0])

    return happens


def stepped(who: str, seconds: float):
    def happens(world: World) -> None:
        world.offsets[who] = world.offsets.get(who, 0) + seconds

    return happens


def a_look_at_the_host(world: World) -> None:
    """Another shift begins, with a turn."""
    world.airflow.turn_at = world.t if world.airflow.turn_at is None else world.airflow.turn_at


spans = st.sampled_from([1, 7, 40, 100, 290])
happenings = st.one_of(
    st.just((a_look_at_the_host, "shift")),
    st.builds(lambda s: (lambda w: w.airflow.away(w, s), "airflow"), spans),
    st.builds(
        lambda s: (
            lasting(lambda w: setattr(w.store, "away", True), lambda w: setattr(w.store, "away", False), s),
            "store",
        ),
        spans,
    ),
    st.builds(
        lambda s: (
            lasting(
                lambda w: setattr(w, "statuses_lost", True), lambda w: setattr(w, "statuses_lost", False), s
            ),
            "statuses",
        ),
        spans,
    ),
    st.builds(
        lambda s: (lasting(lambda w: w.host.crash(), lambda w: setattr(w.host, "down", False), s), "host"),
        spans,
    ),
    st.builds(
        lambda who, s: (stepped(who, s), "clock"),
        st.sampled_from(["store", "host", "driver", "airflow"]),
        st.sampled_from([-86400, -3600, -40, -3, 3, 40, 3600, 86400]),
    ),
    st.builds(
        lambda state, by_hand, killed, redeploy: (
            lambda w: w.desire(state, by_hand=by_hand, killed_after=killed, redeploy=redeploy),
            "person",
        ),
        st.sampled_from(["running", "running", "stopped"]),
        st.booleans(),
        st.none() | st.sampled_from([0, 1, 5, 61]),
        st.booleans(),
    ),
)
events = st.lists(
    st.tuples(st.integers(0, TROUBLE), happenings).map(lambda one: (one[0], *one[1])), max_size=8
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=WITHOUT_SHRINKING
)
@given(fates | crash_loops, events)
def test_no_hot_loop_no_forgotten_stream_no_start_beside_a_driver_that_may_commit(doomed, happening):
    live(doomed, happening)


def person(state: str, *, by_hand: bool = False, redeploy: bool = False):
    return lambda w: w.desire(state, by_hand=by_hand, redeploy=redeploy)


def away(what: str, seconds: float):
    if what == "host":
        return lasting(lambda w: w.host.crash(), lambda w: setattr(w.host, "down", False), seconds)
    return lasting(
        lambda w: setattr(w.store, "away", True), lambda w: setattr(w.store, "away", False), seconds
    )


DAY = 86400
SCENARIOS = {
    "hangs, and is then to be stopped": ([Fate(100, "hangs")], [(101, person("stopped"), "person")]),
    "hangs after its last word": (
        [Fate(0, "lingers", stops_in=1)],
        [(100, person("stopped"), "person")],
    ),
    "crashes, and lingers": ([Fate(100, "lingers")], [(150, person("running"), "person")]),
    "is deaf, and is to be stopped": ([Fate(100, "deaf")], [(101, person("stopped"), "person")]),
    "a person and the DAG restart it at once": (
        [Fate(stops_in=50)],
        [(300, person("running", by_hand=True), "person")],
    ),
    "two people change their minds while it stops": (
        [Fate(stops_in=50)],
        [(300, person("stopped", by_hand=True), "person"), (320, person("running", by_hand=True), "person")],
    ),
    "the store's clock goes back while it hangs": (
        [Fate(100, "hangs")],
        [(105, stepped("store", -DAY), "clock")],
    ),
    "the store's clock goes back in a crash loop": (
        [Fate(20, "crash", 13)] * 200,
        [(700, stepped("store", -DAY), "clock")],
    ),
    "the store's clock goes back while it is stopped": (
        [Fate(100, "deaf")],
        [(110, person("stopped"), "person"), (115, stepped("store", -DAY), "clock")],
    ),
    "the host's clock goes back while it starts": (
        [Fate(0, "hangs")],
        [(10, stepped("host", -DAY), "clock")],
    ),
    "every clock goes forward": (
        [Fate(400, "crash", 1)],
        [(300, stepped(who, DAY), "clock") for who in ("store", "host", "driver", "airflow")],
    ),
    "the store is away when it crashes": ([Fate(100, "crash", 12)], [(90, away("store", 290), "store")]),
    "the first start finds no store": ([], [(1, away("store", 200), "store")]),
    "its host is killed, and it hangs": ([Fate(100, "hangs")], [(110, away("host", 60), "host")]),
    "fenced by one that then dies": (
        [Fate(), Fate(60, "crash", 11)],
        [(100, away("host", 10), "host"), (150, a_look_at_the_host, "shift")],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_has_gone_wrong_before_or_nearly(name):
    live(*SCENARIOS[name])


def test_a_crash_loop_is_slow_and_ends_when_its_cause_does():
    world = live([Fate(20, "crash")] * 200, [])
    assert world.births(0, WINDOW) <= MOST_BIRTHS
    assert world.births(900, 900 + WINDOW) <= 9, "by then the back-off has grown to minutes"
    assert load_history(world.store, STREAM).history.last_start.attempt >= 8


@pytest.mark.parametrize("killed_after", [0, 1, 6])
@pytest.mark.parametrize("stops_in", [2, 8])
def test_a_restart_whose_orderer_is_killed_between_stop_and_start_does_not_leave_the_stream_down(
    killed_after, stops_in
):
    """Of the command; its DAG sees that the start is missing, long before a JVM's time to start is over."""

    def order(world: World) -> None:
        world.desire("running", by_hand=True, killed_after=killed_after)

    first, second = live([Fate(stops_in=stops_in)], [(600, order, "person")]).drivers
    assert first.code == 0
    assert second.born - 600 < 60, "taken up within a minute"


def test_airflow_killed_between_stop_and_start_of_its_own_restart_goes_on_when_it_is_back():
    fates = [Fate(40, "mute", stops_in=30)]
    world = World(fates=fates, peace_at=0 + 100, events=[(90, lambda w: w.airflow.away(w, 100))])
    world.run(400)
    assert [driver.code for driver in world.drivers] == [0, None]
    assert world.drivers[-1].running


@pytest.mark.parametrize(("takes", "who"), [(3, "ada"), (89, "ada"), (400, "ada"), (2000, "preflight")])
@pytest.mark.parametrize("shift", [[], [(500, a_look_at_the_host, "shift")]])
def test_a_preflight_gets_its_time_and_then_is_refused_but_is_never_ended_nor_started_beside(
    takes, who, shift
):
    redeploy = (300, person("running", redeploy=True), "person")
    world = live([Fate(), Fate(tries_for=takes)], [redeploy, *shift])
    old, new = world.drivers
    assert (old.code, new.code, len(world.orders)) == (0, None, 2)
    assert load_desired(world.store, STREAM).desired.who == who
    until = 300 + min(takes, 600)
    assert until < new.claimed < until + 60, "its driver begins when the version has been tried"


def test_a_preflight_whose_process_hangs_is_ended():
    world = live(
        [Fate(), Fate(60, "hangs", tries_for=400)], [(300, person("running", redeploy=True), "person")]
    )
    assert [driver.code for driver in world.drivers] == [0, -9, None]


def test_a_driver_that_outlives_its_host_is_fenced_by_the_next():
    crash = lasting(lambda w: w.host.crash(), lambda w: setattr(w.host, "down", False), 30)
    for shift in ([], [(310, a_look_at_the_host, "shift")]):
        old, new = live([], [(300, crash, "host"), *shift]).drivers
        assert (old.code, new.code) == (10, None)
        assert 330 < new.born < 400, "seen soon after the host is back, though the old one does its work"
