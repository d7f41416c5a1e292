"""Recorded polls, read one after the other in bounded memory.

Two forms, told apart by their content, plain or compressed with xz or gz:

* **JSON lines**, a poll each: `{"fetched_at": <ISO time or epoch seconds>, "feed": <GBFS station_status>}`.
* **The change-only CSV pair**: a file of polls (`poll,last_updated,…`) and one of changes
  (`poll,station_no,bikes,…`), which has a row only when a station's values changed. A row with all values
  empty means that the station was absent from that poll, and stays so until its next row. With a stations
  file (`station_no,station_id,…`) stations have that `station_id`; without it, the number as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from millrace.feeds.compressed import Lines, RecordedError
from millrace.feeds.gbfs.parse import status_to_poll
from millrace.feeds.model import Poll, Rejection, Unreadable
from millrace.feeds.reading import epoch_seconds, load_json
from millrace.feeds.recorded_csv import poll_rows, read_changes

POLLS_HEADER = ["poll", "last_updated"]
CHANGES_HEADER = ["poll", "station_no"]
STATIONS_HEADER = ["station_no", "station_id"]

OnRejected = Callable[[Rejection], None]
OnRead = Callable[[Path, int], None]


@dataclass(frozen=True)
class Recording:
    """The files of one or more recordings, by their role; the CSV files are a pair or both None."""

    json_lines: tuple[Path, ...]
    polls: Path | None = None
    changes: Path | None = None
    stations: Path | None = None

    @property
    def big_files(self) -> tuple[Path, ...]:
        """The files that tell how far a reader has come."""
        return self.json_lines + ((self.changes,) if self.changes else ())


def read_recorded(
    paths: Iterable[Path | str],
    *,
    system_id: str = "recorded",
    on_rejected: OnRejected | None = None,
    on_read: OnRead | None = None,
) -> Iterator[Poll]:
    """Every poll of the files, as recorded: JSON-lines files in the order given, then the CSV pair.

    What cannot be read goes to `on_rejected`, its detail with file and line; without it, it raises RecordedError.
    `on_read(file, bytes)` is told now and then how many bytes of a (compressed) file have been read.
    """
    recording = identify(paths)
    for path in recording.json_lines:
        yield from _read_json_lines(path, system_id, on_rejected, on_read)
    if recording.polls and recording.changes:
        yield from read_changes(recording.polls, recording.changes, recording.stations, system_id, on_read)


def identify(paths: Iterable[Path | str]) -> Recording:
    """Which file is what, by their first bytes. Raises RecordedError when they do not fit together."""
    json_lines: list[Path] = []
    csvs: dict[str, Path] = {}
    for path in map(Path, paths):
        head = _first_line(path)
        if not head:
            raise RecordedError(f"{path} is empty")
        columns = [name.strip('"') for name in head.split(",")]
        if head.lstrip().startswith("{"):
            json_lines.append(path)
            continue
        for role, header in (
            ("polls", POLLS_HEADER),
            ("changes", CHANGES_HEADER),
            ("stations", STATIONS_HEADER),
        ):
            if columns[: len(header)] == header:
                if role in csvs:
                    raise RecordedError(f"{path} and {csvs[role]} both hold {role}; give one pair at a time")
                csvs[role] = path
                break
        else:
            raise RecordedError(
                f"{path} is no recording that is known: it should have a JSON object per line, "
                f"or begin with one of the headers '{','.join(POLLS_HEADER)},…', "
                f"'{','.join(CHANGES_HEADER)},…', '{','.join(STATIONS_HEADER)},…'; it begins {head[:60]!r}"
            )
    if ("polls" in csvs) != ("changes" in csvs):
        there, missing = ("polls", "changes") if "polls" in csvs else ("changes", "polls")
        raise RecordedError(f"{csvs[there]} holds only the {there}; give the file of {missing} beside it too")
    if not json_lines and "polls" not in csvs:
        raise RecordedError("no file with polls was given")
    return Recording(tuple(json_lines), csvs.get("polls"), csvs.get("changes"), csvs.get("stations"))


def last_observed_at(paths: Iterable[Path | str]) -> int:
    """`observed_at` of the newest last poll of the files, epoch seconds UTC. Raises RecordedError.

    Reads through the files, but decodes only their last lines.
    """
    recording = identify(paths)
    newest: list[int] = []
    for path in recording.json_lines:
        last = b""
        with Lines(path) as (lines, _):
            for line in lines:
                last = line if line.strip() else last
        try:
            newest.append(epoch_seconds(_feed_of(load_json(last)).get("last_updated"), "last_updated"))
        except Unreadable as error:
            raise RecordedError(f"{path}: the last line: {error.detail}; remove that line") from None
    if recording.polls:
        newest.extend(moment for _, moment, _ in poll_rows(recording.polls))
    if not newest:
        raise RecordedError(f"{recording.polls} holds no poll")
    return max(newest)


def _first_line(path: Path) -> str:
    """The beginning of the first line that is not blank; empty when there is none."""
    with Lines(path) as (lines, _):
        while line := lines.readline(4096):
            text = line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
            if text:
                return text
    return ""


def _read_json_lines(
    path: Path, system_id: str, on_rejected: OnRejected | None, on_read: OnRead | None
) -> Iterator[Poll]:
    with Lines(path) as (lines, below):
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = load_json(line)
                feed = _feed_of(record)
                fetched_at = epoch_seconds(record.get("fetched_at"), "fetched_at")
                parsed = status_to_poll(feed, system_id, fetched_at)
            except Unreadable as error:
                rejections: Sequence[Rejection] = [Rejection(error.reason, error.detail, line.rstrip(b"\n"))]
                poll = None
            else:
                rejections, poll = parsed.rejections, parsed.poll
            for rejection in rejections:
                if on_rejected is None:
                    raise RecordedError(f"{path}:{number}: {rejection.reason}: {rejection.detail}")
                on_rejected(replace(rejection, detail=f"{path}:{number}: {rejection.detail}"))
            if poll is not None:
                yield poll
            if on_read is not None:
                on_read(path, below.tell())


def _feed_of(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict) or not isinstance(record.get("feed"), dict):
        raise Unreadable("missing_field", "the line is not an object with `fetched_at` and `feed`")
    feed: dict[str, Any] = record["feed"]
    return feed
