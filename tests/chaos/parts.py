"""What can be killed and comes back: servers as processes, and a disk small enough to be filled."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil


class Part:
    """A program that runs until it is killed, and can be started again on the same data."""

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        log: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command, self._log, self._is_ready = command, log, is_ready
        self._environment = dict(environment) if environment is not None else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, within: float = 60) -> None:
        """Start it and wait until it answers. Raises RuntimeError."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                list(self._command()),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + within
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} does not start:\n{said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, without its children."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, within: float = 30) -> None:
        """SIGTERM, then SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()


class SmallDisk:
    """A directory whose disk can be full for a while.

    Where this user may mount one, it is a small disk in memory, filled with a file to the last byte (ENOSPC).
    Elsewhere the processes that write there are forbidden to make files longer (RLIMIT_FSIZE, EFBIG).
    """

    def __init__(self, directory: Path, megabytes: int = 192) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        options = f"size={megabytes}m,mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "millrace-chaos", str(directory)]
        self.is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0

    def fill(self, writers: Iterable[psutil.Process]) -> None:
        """The disk is full now; `writers` are the processes that write there. Again for writers that are new."""
        if not self.is_mounted:
            self._limit(writers, 0)
            return
        with (self._directory / "filler").open("ab", buffering=0) as filler, suppress(OSError):
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        filler.write(bytes(size))

    def free(self, writers: Iterable[psutil.Process]) -> None:
        """There is room again."""
        if not self.is_mounted:
            self._limit(writers, resource.RLIM_INFINITY)
        (self._directory / "filler").unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the mount away; nobody may use it any more."""
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self._directory)], check=False, capture_output=True)

    def _limit(self, writers: Iterable[psutil.Process], size: int) -> None:
        for writer in writers:
            with suppress(psutil.Error, OSError):
                resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
