"""Stores that do not keep their promises are found out, each by what it does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from millrace.doctor.finding import Finding
from millrace.doctor.store import look_at_store, what_to_do
from millrace.store import MemoryStore, ObjectInfo, PreconditionFailed, StoreUnavailable


class Store(MemoryStore):
    """As it should be, and on time."""

    def __init__(self, *, atomic: bool = True) -> None:
        super().__init__(atomic=atomic)
        self.now = datetime.now(UTC)


class IgnoresConditions(Store):
    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        return super().put(key, body)


class ChecksFirst(Store):
    """Looks whether the condition holds, and writes when everybody has looked."""

    def __init__(self, *, writers: int = 8, atomic: bool = False) -> None:
        super().__init__(atomic=atomic)
        self._looked = threading.Barrier(writers)

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if if_match is None or not key.rpartition("/")[2].startswith("replace-"):
            return super().put(key, body, if_match=if_match, if_absent=if_absent)
        if self.get(key).etag != if_match:
            raise PreconditionFailed(key)
        self._looked.wait()
        return super().put(key, body)


class CreatesTwice(Store):
    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        racing = key.rpartition("/")[2].startswith("create-")
        return super().put(key, body, if_match=if_match, if_absent=if_absent and not racing)


class ListsLate(Store):
    def list_objects(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        return iter(())


class KeepsWhatIsDeleted(Store):
    def delete(self, key: str) -> None:
        pass


class MayNotPut(Store):
    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        raise StoreUnavailable(f"PUT {key} in bucket b at http://s3: An error occurred (AccessDenied)")


def found(store: MemoryStore, rounds: int = 3) -> list[Finding]:
    return list(look_at_store(store, rounds=rounds))


def bad(store: MemoryStore) -> list[tuple[str, str]]:
    return [(one.level, one.says) for one in found(store) if one.level != "fine"]


def test_a_good_store_passes_and_nothing_is_left_in_it() -> None:
    store = Store()
    assert [one.level for one in found(store)] == ["fine"] * 4
    assert store.objects == {}


def test_a_store_that_ignores_conditions_is_an_error() -> None:
    store = IgnoresConditions()
    ((level, says),) = bad(store)
    assert level == "error"
    assert "ignores If-None-Match: * and If-Match" in says
    assert store.objects == {}


def test_a_store_that_checks_first_is_a_warning() -> None:
    ((level, says),) = bad(ChecksFirst())
    assert level == "warning"
    assert "several winners in 3 of 3 rounds" in says


def test_a_store_that_is_said_to_be_atomic_and_is_not_is_an_error() -> None:
    ((level, says),) = bad(ChecksFirst(atomic=True))
    assert level == "error"
    assert "MILLRACE_S3_IF_MATCH=atomic" in says


def test_a_store_with_two_creators_is_an_error() -> None:
    ((level, says),) = bad(CreatesTwice())
    assert (level, "in 3 of 3 rounds several writers won" in says) == ("error", True)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(ListsLate, "not in a LIST"), (KeepsWhatIsDeleted, "still there after its DELETE")],
)
def test_a_store_without_order_is_an_error(kind: type[Store], words: str) -> None:
    ((level, says),) = bad(kind())
    assert (level, words in says) == ("error", True)


def test_another_clock_is_told() -> None:
    store = Store()
    store.now += timedelta(minutes=10)
    ((level, says),) = bad(store)
    assert level == "error"
    assert "the store's clock is 600 s ahead of the one here" in says or "599 s ahead" in says


def test_what_is_not_allowed_is_said_with_what_would_be_right() -> None:
    (finding,) = found(MayNotPut())
    assert finding.level == "error"
    assert "PUT doctor/" in finding.says
    assert "s3:PutObject" in finding.do


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("NoSuchBucket", "MILLRACE_BUCKET"),
        ("SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("SSL validation failed ... CERTIFICATE_VERIFY_FAILED", "MILLRACE_S3_CA"),
        ("Could not connect to the endpoint URL", "MILLRACE_S3_ENDPOINT"),
        ("RequestTimeTooSkewed", "NTP"),
        ("An error occurred (403) when calling the HeadObject operation: Forbidden", "s3:GetObject"),
        ("PUT doctor/403/probe ... CERTIFICATE_VERIFY_FAILED", "MILLRACE_S3_CA"),
    ],
)
def test_every_usual_refusal_has_its_remedy(problem: str, words: str) -> None:
    assert words in what_to_do(problem)
