from datetime import timedelta

import pytest

from millrace.store import MemoryStore
from spark_apps.runtime.carried_state import (
    KEPT_MANIFESTS,
    ORPHAN_AFTER,
    CarriedState,
    Manifest,
    ManifestError,
    StateConflict,
    get_pack,
    newest_manifest,
    put_pack,
)
from spark_apps.runtime.errors import BadConfiguration


def commit(store: MemoryStore, batch: int, *, buckets: dict[int, bytes], generation: int = 1) -> Manifest:
    state = CarriedState(store, "s", generation)
    before = state.manifest(batch - 1)
    packs = dict(before.packs) if before else {}
    for bucket, body in buckets.items():
        packs[bucket] = put_pack(store, "s", generation, batch, bucket, body)
    manifest = Manifest(schema=1, stream="s", generation=generation, batch=batch, buckets=2, packs=packs)
    state.commit(manifest)
    return manifest


def test_a_batch_is_committed_once_and_a_retry_of_it_is_welcome() -> None:
    store = MemoryStore()
    commit(store, 0, buckets={0: b"a"})
    commit(store, 0, buckets={0: b"a"})
    with pytest.raises(StateConflict):
        commit(store, 0, buckets={0: b"b"})
    assert get_pack(store, CarriedState(store, "s", 1).manifest(0).packs[0]) == b"a"


def test_a_bucket_without_records_keeps_its_state() -> None:
    store = MemoryStore()
    commit(store, 0, buckets={0: b"a", 1: b"b"})
    manifest = commit(store, 1, buckets={1: b"c"})
    assert [get_pack(store, manifest.packs[bucket]) for bucket in (0, 1)] == [b"a", b"c"]


def test_old_states_are_removed_but_never_one_that_is_still_named() -> None:
    store = MemoryStore()
    state = CarriedState(store, "s", 1)
    packs = {0: put_pack(store, "s", 1, 0, 0, b"never changes")}
    for batch in range(20):
        packs = {**packs, 1: put_pack(store, "s", 1, batch, 1, b"%d" % batch)}
        state.commit(Manifest(schema=1, stream="s", generation=1, batch=batch, buckets=2, packs=packs))
    assert get_pack(store, packs[0]) == b"never changes"
    assert len(store.objects) == KEPT_MANIFESTS + KEPT_MANIFESTS + 1


def test_a_sweep_removes_what_crashes_left_behind_once_nobody_can_be_writing_it() -> None:
    store = MemoryStore()
    orphan = put_pack(store, "s", 1, 3, 0, b"of a batch that never was")
    store.now += ORPHAN_AFTER + timedelta(seconds=1)
    fresh = put_pack(store, "s", 1, 4, 0, b"of a batch that is being written")
    manifest = commit(store, 3, buckets={0: b"state"})
    CarriedState(store, "s", 1).sweep(3)
    assert orphan.key not in store.objects
    assert fresh.key in store.objects
    assert get_pack(store, manifest.packs[0]) == b"state"


def test_the_newest_generation_with_state_is_where_a_new_one_goes_on() -> None:
    store = MemoryStore()
    assert newest_manifest(store, "s") is None
    commit(store, 7, buckets={0: b"a"}, generation=1)
    commit(store, 0, buckets={0: b"b"}, generation=2)
    put_pack(store, "s", 3, 0, 0, b"a generation that committed nothing")
    found = newest_manifest(store, "s")
    assert found is not None
    assert (found.generation, found.batch) == (2, 0)


def test_a_newer_schema_and_a_wrong_content_are_refused_in_words() -> None:
    store = MemoryStore()
    manifest = commit(store, 0, buckets={0: b"a"})
    store.put(manifest.packs[0].key, b"something else")
    with pytest.raises(ManifestError, match="hash differs"):
        get_pack(store, manifest.packs[0])
    newer = manifest.model_copy(update={"schema_": 2, "batch": 1})
    CarriedState(store, "s", 1).commit(newer)
    with pytest.raises(ManifestError, match="run the newer version"):
        CarriedState(store, "s", 1).manifest(1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"schema": 2, "packs": "in another form"}', "schema 2, this version reads up to 1: run the newer"),
        (b'{"schema": 1, "stream": "s"}', "no manifest: generation: Field required"),
        (b"[]", "no manifest"),
        (b'{"schema":', "no manifest: .* move it away"),
    ],
)
def test_what_is_no_manifest_of_this_version_ends_the_driver_in_words(body: bytes, words: str) -> None:
    store = MemoryStore()
    store.put("state/s/g00001/manifest-0000000001.json", body)
    with pytest.raises(BadConfiguration, match=f"manifest-0000000001.json .*{words}"):
        newest_manifest(store, "s")
