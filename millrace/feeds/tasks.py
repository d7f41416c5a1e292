"""Running coroutines until they end, one fails, or stopping is wished."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from millrace.feeds.stop import Stop


async def run_until_stopped(stop: Stop, coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all of them. A wish to stop cancels them; the first failure cancels the others and is raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    stopping = asyncio.create_task(stop.wait_async())
    try:
        left = set(tasks)
        while left and not stopping.done():
            done, _ = await asyncio.wait({*left, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done & left:
                task.result()
            left -= done
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()
