"""The whole demo for half an hour: is its memory flat, is every shift green, does every stream keep up?

    make soak            # MINUTES=30; a stack of its own, in a directory of its own, on free ports

Brings the stack up with shifts of five minutes, looks at it every ten seconds, and prints a table: per part the
memory early, in the middle and at the end, per stream its batches, its lag and its restarts, and the shifts by
their outcome. Ends with status 1 when memory grew, a shift was red, or a driver was restarted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil
import yaml

from millrace.catalog import load_catalog
from millrace.control.status import DriverStatus, newest_status
from millrace.local.airflow_api import AirflowApi
from millrace.local.credentials import ensure_secrets
from millrace.local.home import stack_settings
from millrace.local.jars import jar_root
from millrace.local.overview import look
from millrace.local.ports import free_ports
from millrace.settings import DEFAULT_PORTS, PROJECT_ROOT, Settings
from millrace.store import StoreError, open_store

EVERY = 10.0
SHIFT = "5min"
SETTLED = 0.3
"""Share of the time after which memory must be flat: caches fill and compilers warm up before it."""
MAY_GROW = 0.05
"""Of a part's memory, from the first to the second half of the rest; and this many MB, which are noise."""
NOISE = 30e6

Samples = dict[str, list[tuple[float, float]]]
"""By part: (minutes since the start, bytes)."""


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mr-soak-") as directory:
        environment = _environment(Path(directory))
        command = [sys.executable, "-m", "millrace"]
        try:
            subprocess.run([*command, "up"], env=environment, check=True)
            good = _watch(environment, options.minutes)
        finally:
            subprocess.run([*command, "down"], env=environment, check=True)
    sys.exit(0 if good else 1)


def _environment(directory: Path) -> dict[str, str]:
    """A home, a catalog with short shifts, and ports of its own."""
    catalog = directory / "catalog"
    catalog.mkdir()
    for file in (PROJECT_ROOT / "catalog").glob("*.yaml"):
        entries = yaml.safe_load(file.read_text())
        if file.name == "streams.yaml":
            entries = {name: entry | {"shift": SHIFT} for name, entry in entries.items()}
        (catalog / file.name).write_text(yaml.safe_dump(entries, sort_keys=False))
    ports = zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True)
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "AWS_", "AIRFLOW"))},
        "MILLRACE_HOME": str(directory / "home"),
        "MILLRACE_CATALOG": str(catalog),
        "MILLRACE_JARS": str(jar_root()),
        **{f"MILLRACE_PORT_{name}": str(port) for name, port in ports},
    }


def _watch(environment: dict[str, str], minutes: float) -> bool:
    secrets = ensure_secrets(Path(environment["MILLRACE_HOME"]))
    settings = replace(
        stack_settings(environment),
        access_key=secrets["AWS_ACCESS_KEY_ID"],
        secret_key=secrets["AWS_SECRET_ACCESS_KEY"],
    )
    streams = load_catalog(settings.catalog_dir).started("")
    memory: Samples = defaultdict(list)
    lags: dict[str, list[int]] = defaultdict(list)
    begun = time.monotonic()
    while (passed := (time.monotonic() - begun) / 60) < minutes:
        for part, size in _memory(settings, streams).items():
            memory[part].append((passed, size))
        for name in streams:
            status = _status(settings, name)
            if status is not None and status.lag is not None:
                lags[name].append(status.lag)
        print(
            f"\r{passed:5.1f} of {minutes:g} min, {sum(m[-1][1] for m in memory.values()) / 1e6:,.0f} MB",
            end="",
        )
        time.sleep(EVERY)
    print("\n")
    flat = _tell_memory(memory, minutes)
    healthy = _tell_streams(settings, streams, lags)
    return _tell_shifts(AirflowApi.of(settings, secrets), streams) and flat and healthy


def _memory(settings: Settings, streams: list[str]) -> dict[str, float]:
    """Bytes by part; a driver apart from the host that it runs under."""
    found = {line.name: float(line.memory) for line in look(settings).processes}
    for name in streams:
        status = _status(settings, name)
        if status is None:
            continue
        try:
            top = psutil.Process(status.pid)
            own = sum(process.memory_full_info().pss for process in [top, *top.children(recursive=True)])
        except psutil.Error:
            continue
        found[f"driver {name}"] = float(own)
        found["streamhost"] -= own
    return found


def _status(settings: Settings, stream: str) -> DriverStatus | None:
    try:
        return newest_status(open_store(settings), stream)
    except StoreError:
        return None


def _tell_memory(memory: Samples, minutes: float) -> bool:
    print("| part | MB early | in the middle | at the end | grew |\n|---|--:|--:|--:|---|")
    flat = True
    for part, samples in memory.items():
        start, middle = minutes * SETTLED, minutes * (1 + SETTLED) / 2
        early = median(size for at, size in samples if at <= start)
        before = median(size for at, size in samples if start < at <= middle)
        after = median(size for at, size in samples if at > middle)
        grew = after > before * (1 + MAY_GROW) + NOISE
        flat = flat and not grew
        sizes = " | ".join(f"{size / 1e6:,.0f}" for size in (early, before, after))
        print(f"| {part} | {sizes} | {'**yes**' if grew else 'no'} |")
    return flat


def _tell_streams(settings: Settings, streams: list[str], lags: dict[str, list[int]]) -> bool:
    print(
        "\n| stream | batches | messages | batch p50 / p99, s | median lag | restarts |\n|---|--:|--:|--:|--:|--:|"
    )
    healthy = True
    for name in streams:
        status = _status(settings, name)
        if status is None:
            print(f"| {name} | no driver |")
            healthy = False
            continue
        times = f"{status.batch_seconds_p50} / {status.batch_seconds_p99}"
        lag = median(lags[name]) if lags[name] else "unknown"
        restarts = status.driver_epoch - 1
        print(f"| {name} | {status.batches:,} | {status.records:,} | {times} | {lag} | {restarts} |")
        healthy = healthy and restarts == 0 and status.state == "running"
    return healthy


def _tell_shifts(api: AirflowApi, streams: list[str]) -> bool:
    print("\n| DAG | green | red | running |\n|---|--:|--:|--:|")
    green = True
    for dag in [*(f"stream__{name}" for name in streams), "compact_hourly"]:
        states = [run["state"] for run in api.get(f"/api/v2/dags/{dag}/dagRuns?limit=100")["dag_runs"]]
        print(f"| {dag} | {states.count('success')} | {states.count('failed')} | {states.count('running')} |")
        green = green and "failed" not in states and "success" in states
    return green


if __name__ == "__main__":
    main()
