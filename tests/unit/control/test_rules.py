"""How a stream is supervised, as the catalog says it: what is refused, and what a change restarts."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from millrace.catalog import CatalogError, StreamSpec, load_catalog
from millrace.control.outdated import config_of, differences
from millrace.control.view import thresholds_of
from millrace.settings import PROJECT_ROOT
from millrace.supervision import Rules
from tests.unit.control.samples import SPEC, desired


def catalog_with(directory: Path, **blocks: object) -> StreamSpec:
    shutil.copytree(PROJECT_ROOT / "catalog", directory, dirs_exist_ok=True)
    file = directory / "streams.yaml"
    entries = yaml.safe_load(file.read_text())
    entries["station_hourly"] |= blocks
    file.write_text(yaml.safe_dump(entries))
    return load_catalog(directory).streams["station_hourly"]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (
            {"health": {"stalled_after": "2"}},
            "health.stalled_after: '2' is not a duration; write a number and",
        ),
        ({"health": {"lagging_for": "1s"}}, "health.lagging_for: 1s is out of bounds: write 2min to 29min"),
        ({"health": {"silent_after": "2d"}}, "health.silent_after: 2d is out of bounds: write 5s to 1h"),
        ({"health": {"lagging": "5min"}}, "health.lagging is not a key that is known here"),
        (
            {"health": {"lagging_records": -1}},
            "health.lagging_records: Input should be greater than or equal",
        ),
        ({"preflight_within": "1s"}, "preflight_within: 1s is out of bounds: write 10s to 6h"),
        ({"preflight_within": "soon"}, "preflight_within: 'soon' is not a duration"),
        ({"restarts": {"failures": 1}}, "restarts.failures: Input should be greater than or equal to 2"),
        ({"restarts": {"retry_every": "5s"}}, "restarts.retry_every: 5s is out of bounds: write 1min to 1d"),
        ({"alerts": {"on": ["down"]}}, "alerts.connection is missing"),
        (
            {"alerts": {"connection": "a", "on": ["dead"]}},
            "Input should be 'down', 'circuit_open', 'lagging',",
        ),
        ({"alerts": {"connection": "a", "on": []}}, "alerts.on: it must name at least one of down, circuit"),
        ({"alerts": {"connection": "https://a/secret"}}, "alerts.connection: String should match pattern"),
    ],
)
def test_what_cannot_be_is_refused_with_file_key_and_what_would_be_right(tmp_path, block, words):
    with pytest.raises(CatalogError) as refused:
        catalog_with(tmp_path, **block)
    assert str(refused.value).startswith(f"{tmp_path / 'streams.yaml'}: station_hourly.")
    assert words in str(refused.value)


def test_rules_are_no_part_of_what_a_driver_is_started_with(tmp_path):
    spec = catalog_with(
        tmp_path,
        health={"stalled_after": "1min"},
        restarts={"failures": 3, "window": "10min", "retry_every": "1h"},
        alerts={"connection": "team_chat"},
    )
    plain = load_catalog(PROJECT_ROOT / "catalog").streams["station_hourly"]
    assert differences(config_of(plain), config_of(spec)) == []
    assert spec.rules.alerts.on == ("down", "circuit_open", "lagging", "stalled", "recovered")
    assert Rules.model_validate_json(spec.rules.model_dump_json()) == spec.rules


def test_a_changed_rule_counts_for_what_is_deployed_already():
    rules = Rules.model_validate({"health": {"stalled_after": "7s"}})
    slow = SPEC.model_copy(update={"trigger": timedelta(minutes=1)})
    deployed = desired(config=config_of(slow))
    assert thresholds_of(deployed).stalled_after == timedelta(minutes=20)
    assert thresholds_of(deployed, rules).stalled_after == timedelta(seconds=7)
    assert thresholds_of(deployed, rules).lagging_for == timedelta(minutes=29)
