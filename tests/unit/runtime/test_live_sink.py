"""The live view: the newest batch of the newest driver, whoever else still writes."""

from __future__ import annotations

from millrace.control.live import LiveView, live_key, read_live
from millrace.store import MemoryStore, StoreUnavailable
from spark_apps.runtime.live_sink import LiveSink
from tests.conftest import wait_until


def seen(store: MemoryStore) -> LiveView:
    view = read_live(store, "s")
    assert view is not None
    return view


def show(sink: LiveSink, store: MemoryStore, batch: int) -> None:
    sink.show({"top": [{"tag": "#a", "count": batch}]}, batch=batch)
    wait_until(lambda: (view := read_live(store, "s")) is not None and view.batch >= batch, 5, "the view")


def test_the_newest_batch_is_seen() -> None:
    store = MemoryStore()
    sink = LiveSink(store, "s", 1)
    show(sink, store, 1)
    show(sink, store, 2)
    sink.close()
    view = seen(store)
    assert (view.driver_epoch, view.batch, view.content) == (1, 2, {"top": [{"tag": "#a", "count": 2}]})


def test_a_newer_driver_takes_over_and_an_older_one_that_wakes_up_writes_no_more() -> None:
    store = MemoryStore()
    old, new = LiveSink(store, "s", 1), LiveSink(store, "s", 2)
    show(old, store, 7)
    new.show({}, batch=3)
    wait_until(lambda: seen(store).driver_epoch == 2, 5, "the newer driver's view")
    old.show({}, batch=8)
    old.close()
    assert (seen(store).driver_epoch, seen(store).batch) == (2, 3)
    new.show({}, batch=4)
    new.close()
    assert (seen(store).driver_epoch, seen(store).batch) == (2, 4)


def test_an_older_driver_that_never_wrote_before_leaves_the_newer_view() -> None:
    store = MemoryStore()
    new = LiveSink(store, "s", 2)
    show(new, store, 1)
    old = LiveSink(store, "s", 1)
    old.show({}, batch=9)
    old.close()
    new.close()
    assert (seen(store).driver_epoch, seen(store).batch) == (2, 1)


def test_a_view_that_somebody_removed_is_written_again() -> None:
    store = MemoryStore()
    sink = LiveSink(store, "s", 1)
    show(sink, store, 1)
    store.delete(live_key("s"))
    show(sink, store, 2)
    sink.close()


class Away(MemoryStore):
    """Does not take the first write."""

    refused = 0

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if not self.refused:
            self.refused += 1
            raise StoreUnavailable("PUT: no answer")
        return super().put(key, body, if_match=if_match, if_absent=if_absent)


def test_a_store_that_is_away_costs_one_view_and_nothing_else() -> None:
    store = Away()
    sink = LiveSink(store, "s", 1)
    sink.show({}, batch=1)
    wait_until(lambda: store.refused, 5, "the first write")
    show(sink, store, 2)
    sink.close()


def test_nothing_is_lost_at_the_end() -> None:
    store = MemoryStore()
    sink = LiveSink(store, "s", 1)
    sink.show({}, batch=1)
    sink.close()
    assert seen(store).batch == 1
