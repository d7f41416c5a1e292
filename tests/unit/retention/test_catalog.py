"""Retention in the catalog: what it means when it is left out, and what is refused."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.catalog import CatalogError, DatasetRetention, StreamSpec, load_catalog
from millrace.control.outdated import config_of, differences
from millrace.settings import PROJECT_ROOT

CATALOG = PROJECT_ROOT / "catalog"


def test_out_of_the_box_no_published_hour_ever_goes() -> None:
    assert DatasetRetention().published is None
    for dataset in load_catalog(CATALOG).datasets.values():
        assert dataset.retention.published is None


def with_published(directory: Path, value: str) -> Path:
    shutil.copytree(CATALOG, directory, dirs_exist_ok=True)
    file = directory / "datasets.yaml"
    changed = file.read_text().replace("published: forever", f"published: {value}")
    assert changed != file.read_text()
    file.write_text(changed)
    return directory


def test_a_limit_is_a_duration(tmp_path: Path) -> None:
    kept = load_catalog(with_published(tmp_path, "400d")).datasets["hourly_summary"].retention
    assert kept.published == timedelta(days=400)
    assert DatasetRetention.model_validate_json(kept.model_dump_json()) == kept


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("30m", r"hourly_summary\.retention\.published: 30min is too short: write at least 1d, or forever"),
        ("a year", "'a year' is not a duration"),
    ],
)
def test_a_slip_of_the_pen_deletes_nothing(value: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=words):
        load_catalog(with_published(tmp_path, value))


def test_another_retention_is_no_reason_to_restart_a_stream() -> None:
    def spec(state: str) -> StreamSpec:
        fields = {
            "name": "s",
            "app": "a",
            "source": "kafka://t",
            "dataset": "d",
            "retention": {"state": state},
        }
        return StreamSpec.model_validate(fields)

    assert differences(config_of(spec("10d")), config_of(spec("20d"))) == []
    assert "retention" not in config_of(spec("10d"))
