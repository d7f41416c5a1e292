"""The trigger in the triggerer: what it outlives, what it shares, and what it waits out."""

from __future__ import annotations

import asyncio

from tests.dags.supervised_world import fired, looks, running_shift, still_waiting


def test_a_triggerer_that_was_killed_is_followed_by_one_that_knows_as_much(shift, world):
    running_shift(shift, world)
    assert asyncio.run(still_waiting(shift.trigger()))
    world.report("failed", error="boom", exit_code=12)
    assert "to start: it should run, but driver epoch 1" in shift.wait()["reason"]


def test_many_triggers_share_one_listing(shift, world, monkeypatch):
    running_shift(shift, world)

    async def fifty():
        from millrace_airflow.shared_watch import shared_watch

        waiting = [asyncio.ensure_future(fired(shift.trigger())) for _ in range(50)]
        rounds = await looks()
        watch, listings = shared_watch(), world.store.listings - before
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert watch._task is None, "nobody watches, so nobody looks"
        return rounds, listings

    before = world.store.listings
    rounds, listings = asyncio.run(fifty())
    assert listings <= rounds + 1, "of fifty, who would make fifty a round"


def test_an_outage_of_the_store_is_waited_out(shift, world, capsys):
    running_shift(shift, world)

    async def outage():
        waiting = asyncio.ensure_future(fired(shift.trigger()))
        world.store.away = True
        await looks()
        assert not waiting.done()
        world.store.away = False
        world.report("failed", error="boom", exit_code=12)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(outage())["kind"] == "attention"
    assert "watching goes on" in capsys.readouterr().out
