"""station_hourly with a transform that does not bear polls of certain stations:

raises: an exception     kills: its own process     hangs: it never ends     kills_jvm: the driver's JVM
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl
import psutil

from millrace.catalog import StreamSpec
from spark_apps.runtime.app import main
from spark_apps.runtime.keyed_fold import Folded
from spark_apps.transforms.station_fold import StationFold
from spark_apps.transforms.stations import StationRules


@dataclass(frozen=True)
class FragileFold:
    """Everything else is the station fold's."""

    inner: StationFold

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":  # while it is unpickled there is no inner yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    def fold(self, state: Any, records: pl.DataFrame) -> Folded:
        for value in records["value"]:
            if b'"raises"' in value:
                raise ValueError("no such station: raises")
            if b'"kills"' in value:
                os.kill(os.getpid(), signal.SIGKILL)
            if b'"hangs"' in value:
                time.sleep(3600)
            if b'"kills_jvm"' in value:
                [jvm] = [one for one in psutil.Process().parents() if "java" in one.name()]
                jvm.kill()
                time.sleep(60)
        return self.inner.fold(state, records)


def fold_of(spec: StreamSpec) -> FragileFold:
    return FragileFold(StationFold(StationRules.of(spec.late_by, timedelta(hours=2))))


if __name__ == "__main__":
    main("station_hourly", fold_of)
