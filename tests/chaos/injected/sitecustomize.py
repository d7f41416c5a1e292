"""Faults inside a driver's own processes, which nobody can cause from outside.

Python imports this module at the start of every process that has its directory in PYTHONPATH. In a driver, and
only there, a thread obeys what is written to the file CHAOS_ORDERS/<stream>:

    memory           fill the JVM's heap until it is out of memory
    clock <seconds>  the wall clock of the driver's Python, as the project sees it, is wrong by so much
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

EVERY = 0.2


def _obey(file: Path) -> None:
    done = ""
    while True:
        time.sleep(EVERY)
        try:
            order = file.read_text()
        except OSError:
            order = ""
        if order == done:
            continue
        done = order
        kind, _, value = order.partition(" ")
        if kind == "memory":
            file.unlink(missing_ok=True)  # for this life only
            done = ""
            threading.Thread(target=_fill_the_heap, daemon=True).start()
        else:
            _set_the_clock(float(value) if kind == "clock" else 0.0)


def _fill_the_heap() -> None:
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    gateway = context._gateway if context is not None else None
    if gateway is None:
        return
    kept: list[object] = []

    def fill(size: int) -> None:
        while True:
            kept.append(gateway.jvm.java.nio.ByteBuffer.allocate(size))

    # In smaller and smaller pieces, so that nothing is left for others. Each in a thread of its own: py4j's end of
    # it in the JVM dies of its first OutOfMemoryError and leaves this one waiting for ever.
    for size in (32 << 20, 1 << 20, 1 << 16, 1 << 12):
        filler = threading.Thread(target=fill, args=(size,), daemon=True)
        filler.start()
        filler.join(1)
    time.sleep(1000)


def _set_the_clock(seconds: float) -> None:
    shift = timedelta(seconds=seconds)

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + shift

    for name, module in list(sys.modules.items()):
        mine = name.startswith(("millrace.", "spark_apps."))
        known = getattr(module, "datetime", None) if mine else None
        if isinstance(known, type) and issubclass(known, datetime):
            module.datetime = Wrong if seconds else datetime  # type: ignore[attr-defined]


def _stream() -> str | None:
    line = sys.orig_argv
    app = next((word for word in line if word.startswith("spark_apps.")), None)
    if app is None:
        return None
    return line[line.index("--stream") + 1] if "--stream" in line else app.removeprefix("spark_apps.")


if "CHAOS_ORDERS" in os.environ and (_name := _stream()) is not None:
    threading.Thread(target=_obey, args=(Path(os.environ["CHAOS_ORDERS"], _name),), daemon=True).start()
