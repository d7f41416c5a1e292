import gzip
import json
import lzma
import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.feeds.compressed import RecordedError
from millrace.feeds.model import Poll, Rejection, Station
from millrace.feeds.recorded import last_observed_at, read_recorded
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data

START = 1_683_529_595
SEVEN_DAYS = DIRECTORY / "baywheels_station_status_2023-05-08_7d.jsonl.xz"

Values = tuple[int, int, int, int, int, bool, bool, bool]
values = st.tuples(*[st.integers(0, 3)] * 5, *[st.booleans()] * 3)
snapshots = st.lists(st.dictionaries(st.sampled_from("0 1 2 10".split()), values, max_size=4), max_size=8)  # noqa: SIM905


def expected_polls(shots: list[dict[str, Values]], system_id: str = "s") -> list[Poll]:
    return [
        Poll(
            system_id,
            START + 300 * number,
            START + 300 * number + 7,
            tuple(
                Station(key, bikes, docks, ebikes, off, docks_off, installed, renting, returning)
                for key, (bikes, docks, ebikes, off, docks_off, installed, renting, returning) in shot.items()
            ),
        )
        for number, shot in enumerate(shots)
    ]


def json_line(poll: Poll) -> str:
    rows = [
        {
            "station_id": station.station_id,
            "num_bikes_available": station.bikes,
            "num_docks_available": station.docks,
            "num_ebikes_available": station.ebikes,
            "num_bikes_disabled": station.bikes_disabled,
            "num_docks_disabled": station.docks_disabled,
            "is_installed": int(bool(station.installed)),
            "is_renting": int(bool(station.renting)),
            "is_returning": int(bool(station.returning)),
        }
        for station in poll.stations
    ]
    feed = {"last_updated": poll.observed_at, "ttl": 5, "data": {"stations": rows}}
    return json.dumps({"fetched_at": poll.fetched_at, "feed": feed}) + "\n"


def write_csv_pair(directory: Path, shots: list[dict[str, Values]]) -> list[Path]:
    """The change-only form: a row where the values differ from the last ones, an empty one for an absence."""
    polls = ["poll,last_updated,committed_at,stations,ttl"]
    changes = ["poll,station_no,bikes,ebikes,bikes_disabled,docks,docks_disabled,installed,renting,returning"]
    last: dict[str, Values] = {}
    for number, shot in enumerate(shots):
        at = START + 300 * number
        polls.append(f"{number},{at},{at + 7},{len(shot)},5")
        for key, (bikes, docks, ebikes, off, docks_off, *flags) in shot.items():
            if last.get(key) != shot[key]:
                row = [bikes, ebikes, off, docks, docks_off, *map(int, flags)]
                changes.append(",".join(map(str, [number, key, *row])))
        changes.extend(f"{number},{key},,,,,,,," for key in last if key not in shot)
        last = shot
    paths = [directory / "polls.csv", directory / "changes.csv"]
    for path, lines in zip(paths, (polls, changes), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


def in_any_order(polls: Iterable[Poll]) -> list[tuple[int, int, frozenset[Station]]]:
    return [(poll.observed_at, poll.fetched_at, frozenset(poll.stations)) for poll in polls]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(shots=snapshots)
def test_both_forms_give_the_polls_that_were_recorded(tmp_path: Path, shots: list[dict[str, Values]]) -> None:
    expected = expected_polls(shots)
    pair = write_csv_pair(tmp_path, shots)
    assert in_any_order(read_recorded(pair, system_id="s")) == in_any_order(expected)
    lines = tmp_path / "polls.jsonl"
    lines.write_text("".join(map(json_line, expected)) or "{}")
    if expected:
        assert in_any_order(read_recorded([lines], system_id="s")) == in_any_order(expected)
        assert last_observed_at([lines]) == last_observed_at(pair) == expected[-1].observed_at


@pytest.mark.parametrize("compress", [lambda body: body, gzip.compress, lzma.compress])
def test_files_may_be_plain_or_compressed(tmp_path: Path, compress: Any) -> None:
    expected = expected_polls([{"1": (1, 2, 0, 0, 0, True, True, True)}] * 3)
    path = tmp_path / "polls"
    path.write_bytes(compress("".join(map(json_line, expected)).encode()))
    assert in_any_order(read_recorded([path], system_id="s")) == in_any_order(expected)


def test_a_file_of_stations_gives_their_ids(tmp_path: Path) -> None:
    pair = write_csv_pair(
        tmp_path, [{"0": (1, 2, 0, 0, 0, True, True, True), "2": (3, 0, 0, 0, 0, True, True, True)}]
    )
    names = tmp_path / "stations.csv"
    names.write_text('station_no,station_id,name\n0,abc,"Park, north"\n1,def,Harbour\n')
    (poll,) = read_recorded([names, *pair])
    assert [station.station_id for station in poll.stations] == ["abc", "2"]


def test_several_files_follow_one_another(tmp_path: Path) -> None:
    expected = expected_polls([{"1": (n, 0, 0, 0, 0, True, True, True)} for n in range(4)])
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    paths[0].write_text("".join(map(json_line, expected[:2])))
    paths[1].write_text("".join(map(json_line, expected[2:])))
    assert [poll.observed_at for poll in read_recorded(paths)] == [poll.observed_at for poll in expected]


def test_a_line_that_cannot_be_read_is_handed_over_whole_or_named(tmp_path: Path) -> None:
    good = expected_polls([{"1": (1, 2, 0, 0, 0, True, True, True)}] * 2)
    path = tmp_path / "polls.jsonl"
    path.write_text(json_line(good[0]) + "{torn\n\n" + '{"fetched_at": 5}\n' + json_line(good[1]))
    rejected: list[Rejection] = []
    assert len(list(read_recorded([path], on_rejected=rejected.append))) == 2
    assert [(rejection.reason, rejection.body) for rejection in rejected] == [
        ("not_json", b"{torn"),
        ("missing_field", b'{"fetched_at": 5}'),
    ]
    with pytest.raises(RecordedError, match=r"polls\.jsonl:2: not_json"):
        list(read_recorded([path]))


POLLS = "poll,last_updated,committed_at\n0,1683529595,1683529600\n"
CHANGES = "poll,station_no,bikes\n0,1,5\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": "hello\n"}, "no recording that is known"),
        ({"a.csv": POLLS}, "give the file of changes"),
        ({"a.csv": POLLS, "b.csv": POLLS}, "both hold polls"),
        ({"a.csv": "station_no,station_id\n0,abc\n"}, "no file with polls"),
        ({"a.csv": POLLS, "b.csv": "poll,station_no,docks\n0,1,5\n"}, "no column 'bikes'"),
        ({"a.csv": POLLS, "b.csv": "poll,station_no,bikes\n0,1,x\n"}, r"b\.csv:2: bikes is 'x'"),
        ({"a.csv": POLLS, "b.csv": "poll,station_no,bikes\n0,1,5\n0\n"}, r"b\.csv:3: 1 columns"),
        (
            {"a.csv": POLLS, "b.csv": "poll,station_no,bikes\n0,1,5\n1,1,5\n"},
            "changes of poll 1, which .*a.csv",
        ),
        (
            {"a.csv": POLLS + "1,1683529900,1683529905\n", "b.csv": "poll,station_no,bikes\n1,1,5\n0,1,5\n"},
            "in the order of the polls",
        ),
        ({"a.csv": POLLS + "1,soon,2\n", "b.csv": "poll,station_no,bikes\n"}, r"a\.csv:3: bad_time"),
        (
            {
                "a.csv": "poll,last_updated\n1,1683529895\n0,1683529595\n",
                "b.csv": "poll,station_no,bikes\n0,1,5\n1,1,4\n",
            },
            r"a\.csv:3: poll 0 after poll 1",
        ),
        ({"a.csv": POLLS + POLLS.splitlines()[1], "b.csv": CHANGES}, r"a\.csv:3: poll 0 is there twice"),
        ({"a.csv": POLLS, "b.csv": "poll,station_no,bikes\n0,,5\n"}, r"b\.csv:2: .*station_no is missing"),
        (
            {"a.csv": POLLS, "b.csv": f"poll,station_no,bikes\n0,{'9' * 300},5\n"},
            r"b\.csv:2: .*station_no is longer",
        ),
        (
            {"a.csv": POLLS, "b.csv": 'poll,station_no,bikes\n0,"1,5\n0,2,5\n'},
            r"b\.csv:3: unexpected end of data",
        ),
        (
            {"a.csv": POLLS, "b.csv": 'poll,station_no,bikes\n0,"1,5\n' + "0,2,5\n" * 30_000},
            r"b\.csv:\d+: field larger",
        ),
        ({"a.csv": POLLS, "b.csv": CHANGES, "c.csv": "station_no,station_id\n1\n"}, r"c\.csv:2: 1 columns"),
        (
            {"a.csv": POLLS, "b.csv": CHANGES, "c.csv": "station_no,station_id\n1,\n"},
            r"c\.csv:2: .*station_id is",
        ),
        (
            {"a.csv": POLLS, "b.csv": CHANGES, "c.csv": "station_no,station_id\n1,b\n2,b\n"},
            r"c\.csv:3: station_id 'b' is also that of 1",
        ),
        (
            {"a.csv": POLLS.replace("\n", "\r"), "b.csv": CHANGES},
            r"a\.csv is no recording that is known|a\.csv:1: ",
        ),
        ({"a.jsonl": "\n \n"}, r"a\.jsonl is empty"),
        ({}, "cannot be read: No such file"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_what_is_wrong(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(RecordedError, match=message):
        list(read_recorded([tmp_path / name for name in files] or [tmp_path / "absent"]))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(random.Random(1).randbytes(3000).hex().encode()))
    damaged[10:20] = bytes(10)
    path = tmp_path / "polls"
    path.write_bytes(damaged)
    with pytest.raises(RecordedError, match="damaged or cut off"):
        list(read_recorded([path]))


@pytest.mark.parametrize(
    "written_as",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n" + text + "\n\n",
        lambda text: "\n".join(
            ",".join(f'"{value}"' for value in line.split(",")) for line in text.splitlines()
        ),
    ],
)
def test_a_csv_pair_may_have_a_mark_of_its_encoding_other_line_ends_blank_lines_and_quotes(
    tmp_path: Path, written_as: Callable[[str], str]
) -> None:
    paths = [tmp_path / "polls.csv", tmp_path / "changes.csv"]
    for path, text in zip(paths, (POLLS, CHANGES), strict=True):
        path.write_bytes(written_as(text).encode())
    (poll,) = read_recorded(paths)
    assert list(poll.stations) == [Station("1", 5)]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_file_that_was_cut_off_is_refused_after_what_could_be_read(tmp_path: Path, compress: Any) -> None:
    shots: list[dict[str, Values]] = [
        {str(n): ((7 * number + n) % 31, n, 0, 0, 0, True, True, True) for n in range(40)}
        for number in range(200)
    ]
    path = tmp_path / "polls"
    path.write_bytes(compress("".join(map(json_line, expected_polls(shots))).encode())[:-40])
    with pytest.raises(RecordedError, match="damaged or cut off"):
        list(read_recorded([path]))


@needs_shared_data
def test_seven_recorded_days_add_up() -> None:
    rentals = returns = observations = hours = 0
    last: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    times: list[int] = []
    for poll in read_recorded([SEVEN_DAYS]):
        times.append(poll.observed_at)
        for station in poll.stations:
            change = station.bikes - last.get(station.station_id, station.bikes)
            rentals, returns = rentals + max(-change, 0), returns + max(change, 0)
            last[station.station_id] = station.bikes
            seen.add((station.station_id, poll.observed_at // 3600))
        observations += len(poll.stations)
    hours = len(seen)
    assert (len(times), len(last), observations) == (929, 516, 479_364)
    assert (rentals, returns, hours) == (36_067, 36_064, 86_688)
    assert max(later - earlier for earlier, later in pairwise(times)) == 4921
