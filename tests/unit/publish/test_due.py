from datetime import timedelta

from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.publish.layout import published_key
from millrace.publish.version import Version
from tests.unit.publish.builders import DATASET, HOUR, land, new_store, published, seal, totals


def test_an_hour_is_due_five_minutes_after_its_end_or_once_sealed() -> None:
    store = new_store()
    land(store, Version(0, 1, 0), {"a": 1})
    end = HOUR + timedelta(hours=1)
    assert due_hours(store, DATASET, end + timedelta(minutes=4, seconds=59)) == []
    assert due_hours(store, DATASET, end + timedelta(minutes=5)) == [HOUR]
    seal(store, Version(0, 1, 1))
    assert due_hours(store, DATASET, HOUR) == [HOUR]


def test_an_hour_that_nobody_wrote_to_is_not_due() -> None:
    assert due_hours(new_store(), DATASET, HOUR + timedelta(days=9)) == []


def test_one_hour_that_cannot_be_read_does_not_hold_the_others() -> None:
    store = new_store()
    broken = published_key(DATASET.prefix, HOUR)
    store.put(broken, b"garbage")
    land(store, Version(0, 1, 0), {"a": 1})
    later = HOUR + timedelta(hours=1)
    land(store, Version(0, 1, 0), {"a": 2}, hour=later)
    results = compact_hours(store, DATASET, [HOUR, later])
    assert [result.outcome for result in results] == ["failed", "published"]
    assert broken in (results[0].error or "")
    assert totals(published(store, later)) == {"a": 2}
