from __future__ import annotations

from datetime import timedelta

import pytest

from millrace import settings
from millrace.catalog import FeedSpec, load_catalog
from millrace.control.lease import Lease
from millrace.feeds import run
from millrace.feeds.choice import by_address
from millrace.settings import PROJECT_ROOT

CATALOG = load_catalog(PROJECT_ROOT / "catalog")


class Made(Exception):
    """The sink would be made now; `args`: with this lease."""


@pytest.mark.parametrize(
    ("spec", "pauses"),
    [
        *((spec, True) for spec in CATALOG.feeds.values()),
        (by_address(["https://a.org/gbfs.json"]), False),
        (FeedSpec(name="bikes", kind="seoul", topic="station_polls"), False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_feeds_send_under_a_lease_but_for_those_that_may_repeat_themselves(
    monkeypatch: pytest.MonkeyPatch, spec: FeedSpec, pauses: bool
) -> None:
    def sink(*_: object, **given: object) -> None:
        raise Made(given["lease"])

    monkeypatch.setattr(run, "_topics", lambda *_: [])
    monkeypatch.setattr(run, "KafkaSink", sink)
    monkeypatch.setattr(run, "validate_feed", lambda _: None)
    lease = Lease(timedelta(seconds=30))
    with pytest.raises(Made) as made:
        run.run_feed(spec, settings.load({}), CATALOG, lease=lease)
    assert made.value.args == (lease if pauses else None,)
