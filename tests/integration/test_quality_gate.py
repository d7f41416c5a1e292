"""On a real S3 server: an hour quarantined, then approved, then amended; after each, the newest of all facts."""

from __future__ import annotations

import polars as pl
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.publish.codec import decode_hour
from millrace.publish.compact import compact_hours
from millrace.publish.layout import published_key, seal_key
from millrace.publish.version import Version
from millrace.quality.auditor import auditor_of
from millrace.quality.quarantine import Decision, put_decision, waiting_entries
from millrace.store import NotFound
from tests.unit.quality.builders import DATASET, HOUR, begin, good, land, station, table

pytestmark = pytest.mark.stack
KEY = published_key(DATASET.prefix, HOUR)


def rows(store) -> list[dict]:
    return decode_hour(store.get(KEY).body, DATASET, KEY).rows.drop("version").to_dicts()


def test_quarantined_then_approved_then_amended(store, store_settings, monkeypatch):
    def compact():
        (done,) = compact_hours(store, DATASET, [HOUR], audit=auditor_of(store, [DATASET]))
        return done

    begin(store)
    festival = pl.concat([good(), table(station(50, total_rental=1500))])
    land(store, festival, 1)
    refused = compact()
    assert refused.outcome == "quarantined"
    assert "station_id=s50, total_rental=1500" in refused.error
    with pytest.raises(NotFound):
        store.get(KEY)

    (entry,) = waiting_entries(store, DATASET)
    where = {"dataset": DATASET.name, "hour": HOUR, "digest": entry.digest}
    put_decision(store, Decision(decision="approved", who="ana", at=entry.at, why="a festival", **where))
    assert compact().outcome == "published"
    assert rows(store) == festival.sort("system_id", "station_id").to_dicts()

    land(store, table(station(50, total_rental=9)), 2)
    store.put(seal_key(DATASET.name, HOUR, Version(0, 1, 3)), b'{"writer": "station_hourly"}')
    amended = compact()
    assert (amended.outcome, amended.status) == ("published", "final")
    expected = pl.concat([good(), table(station(50, total_rental=9))]).sort("system_id", "station_id")
    assert rows(store) == expected.to_dicts()
    assert decode_hour(store.get(KEY).body, DATASET, KEY).quality["outcome"] == "passed"
    assert waiting_entries(store, DATASET) == []

    for name, value in {
        "MILLRACE_HOME": store_settings.home,
        "MILLRACE_S3_ENDPOINT": store_settings.s3_endpoint,
        "MILLRACE_BUCKET": store_settings.bucket,
        "MILLRACE_PREFIX": store_settings.prefix,
        "AWS_ACCESS_KEY_ID": store_settings.access_key,
        "AWS_SECRET_ACCESS_KEY": store_settings.secret_key,
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in (KEY, f"s3://{store_settings.bucket}/{store_settings.prefix}/{KEY}"):
        checked = CliRunner().invoke(app, ["check", name, "--suite", DATASET.name])
        assert checked.exit_code == 0, checked.output
