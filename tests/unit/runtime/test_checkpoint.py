import json
import shutil
import struct
from pathlib import Path

import polars as pl
import pytest

from millrace.catalog import StreamSpec
from millrace.endpoints import Source
from millrace.publish.generations import create_generation, known_generations, read_generation
from millrace.store import MemoryStore
from spark_apps.runtime.carried_state import CarriedState, Manifest, put_pack
from spark_apps.runtime.checkpoint import check_readable, open_checkpoint
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.kafka_source import check_still_held, starting_offsets
from spark_apps.runtime.reset import read_again
from spark_apps.transforms.frame_pack import pack_frames
from spark_apps.transforms.station_fold import StationFold
from spark_apps.transforms.stations import StationRules, StationState

SPEC = StreamSpec(name="s", app="s", source="kafka://t", dataset="d")


def committed(store: MemoryStore, body: bytes = b"state", generation: int = 1, **fields: object) -> Manifest:
    manifest = Manifest(
        schema=1, stream="s", generation=generation, batch=6, buckets=1, offsets={"0": 42},
        packs={0: put_pack(store, "s", generation, 6, 0, body)}, **fields,
    )  # fmt: skip
    CarriedState(store, "s", generation).commit(manifest)
    return manifest


def test_the_first_checkpoint_begins_at_the_beginning(tmp_path: Path) -> None:
    store = MemoryStore()
    opened = open_checkpoint(store, SPEC, tmp_path / "c")
    assert (opened.generation, opened.base, opened.starting_offsets) == (1, None, None)
    assert read_generation(store, "d", 1).first_complete_hour is None
    assert open_checkpoint(store, SPEC, tmp_path / "c") == opened


def test_a_new_directory_goes_on_from_the_state_and_its_offsets(tmp_path: Path) -> None:
    store = MemoryStore()
    create_generation(store, "d", parent=None, first_complete_hour=None)
    manifest = committed(store)
    opened = open_checkpoint(store, SPEC, tmp_path / "c")
    assert (opened.generation, opened.base, opened.starting_offsets) == (2, manifest, {"0": 42})
    assert open_checkpoint(store, SPEC, tmp_path / "c").base == manifest
    assert known_generations(store, "d") == [1, 2]


def test_a_checkpoint_of_another_store_is_refused(tmp_path: Path) -> None:
    open_checkpoint(MemoryStore(), SPEC, tmp_path / "c")
    other = MemoryStore()
    with pytest.raises(BadConfiguration, match="does not know"):
        open_checkpoint(other, SPEC, tmp_path / "c")
    create_generation(other, "d", parent=None, first_complete_hour=None)
    with pytest.raises(BadConfiguration, match="does not know"):
        open_checkpoint(other, SPEC, tmp_path / "c")


def test_a_foreign_checkpoint_and_another_number_of_buckets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c" / "spark").mkdir(parents=True)
    with pytest.raises(BadConfiguration, match="not one of this project's"):
        open_checkpoint(MemoryStore(), SPEC, tmp_path / "c")
    store = MemoryStore()
    committed(store)
    with pytest.raises(BadConfiguration, match=r"s\.buckets is 4"):
        open_checkpoint(store, SPEC.model_copy(update={"buckets": 4}), tmp_path / "d")


def test_a_state_of_a_newer_schema_is_refused_before_the_first_batch() -> None:
    store, fold = MemoryStore(), StationFold(StationRules())
    body = fold.pack(StationState())
    check_readable(store, committed(store, body, generation=1), fold)
    length = struct.unpack_from("<I", body)[0]
    header = json.loads(body[12 : 12 + length])
    newer = json.dumps(header | {"schema": 2}, separators=(",", ":")).encode()
    assert len(newer) == length
    newer_body = body[:12] + newer + body[12 + length :]
    with pytest.raises(BadConfiguration, match="schema 2, this version reads up to 1"):
        check_readable(store, committed(store, newer_body, generation=2), fold)
    mixed = committed(store, body, generation=3)  # the newer version had records for one of the buckets only
    packs = {**mixed.packs, 1: put_pack(store, "s", 3, 6, 1, newer_body)}
    with pytest.raises(BadConfiguration, match="schema 2, this version reads up to 1"):
        check_readable(store, mixed.model_copy(update={"packs": packs}), fold)


@pytest.mark.parametrize(
    "body", [b"", b"short", pack_frames("words", 1, {"words": pl.DataFrame({"n": [1]})})]
)
def test_a_state_that_is_none_of_this_app_is_refused_in_words(body: bytes) -> None:
    store = MemoryStore()
    with pytest.raises(BadConfiguration, match="no state of stations: the stream was another app's before"):
        check_readable(store, committed(store, body), StationFold(StationRules()))


def test_a_checkpoint_that_goes_on_from_a_newer_manifest_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    create_generation(store, "d", parent=None, first_complete_hour=None)
    committed(store)
    open_checkpoint(store, SPEC, tmp_path / "c")
    marker = tmp_path / "c" / "generation.json"
    content = json.loads(marker.read_text())
    marker.write_text(json.dumps(content | {"base": content["base"] | {"schema": 2}}))
    with pytest.raises(BadConfiguration, match=r"generation\.json was written with schema 2"):
        open_checkpoint(store, SPEC, tmp_path / "c")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"0": (43, 90)}, "1 records are gone"),
        ({"0": (0, 41)}, "created anew"),
        ({}, "no partition 0 any more"),
    ],
)
def test_kafka_must_still_hold_what_comes_next(held: dict[str, tuple[int, int]], words: str) -> None:
    check_still_held("t", {"0": 42}, {"0": (42, 42)})
    with pytest.raises(BadConfiguration, match=words):
        check_still_held("t", {"0": 42}, held)


def test_a_partition_that_was_never_read_is_read_from_its_beginning() -> None:
    assert starting_offsets("t", 2, None) == "earliest"
    assert json.loads(starting_offsets("t", 2, {"0": 42})) == {"t": {"0": 42, "1": -2}}


def test_a_server_that_is_away_for_days_uses_up_no_generations(tmp_path: Path) -> None:
    store = MemoryStore()
    spec = SPEC.model_copy(update={"source": Source("socket", "127.0.0.1:9999")})
    for _ in range(3):
        opened = open_checkpoint(store, spec, tmp_path / "c")
        assert opened.generation == 1
        assert not opened.spark_directory.exists(), "what was planned for another connection means nothing"
        (opened.spark_directory / "offsets").mkdir(parents=True)
        (opened.spark_directory / "offsets" / "0").touch()
    manifest = committed(store)
    (opened.spark_directory / "commits").mkdir()
    (opened.spark_directory / "commits" / "6").touch()
    after = open_checkpoint(store, spec, tmp_path / "c")
    assert (after.generation, after.base) == (2, manifest)
    assert not after.spark_directory.exists()


def test_a_stream_of_files_without_its_checkpoint_is_refused_until_it_is_reset(tmp_path: Path) -> None:
    store = MemoryStore()
    spec = SPEC.model_copy(update={"source": Source("files", "/in")})
    open_checkpoint(store, spec, tmp_path / "c")
    committed(store)
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(BadConfiguration, match="only it knew what had been read of files:///in"):
        open_checkpoint(store, spec, tmp_path / "c")
    assert read_again(store, spec, tmp_path / "c").generation == 2
    opened = open_checkpoint(store, spec, tmp_path / "c")
    assert (opened.generation, opened.base, opened.first_complete_hour) == (2, None, None)
