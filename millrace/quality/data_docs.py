"""Great Expectations' own pages about the published hours of a day, built into the store on request.

They are for looking at an hour closely; what counts is in `quality/`. Their styles and scripts come from
public CDNs, so without the internet they are plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING

from millrace.publish.hour import VERSION
from millrace.quality import great
from millrace.quality.daily import read_day
from millrace.quality.judge import parameters_of
from millrace.quality.neighbours import neighbours
from millrace.quality.views import Hour, views_of
from millrace.store import ObjectStore

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec
    from millrace.quality.suite import Suite


def docs_prefix(dataset: str, day: date) -> str:
    return f"quality/docs/{dataset}/{day:%Y-%m-%d}/"


def build_data_docs(store: ObjectStore, dataset: DatasetSpec, suite: Suite, day: date) -> str:
    """A page per published hour of a UTC day, and an index of them; returns the index's key.

    The hours are judged as they are published now, against their neighbours as published now.
    """
    prefix = docs_prefix(dataset.name, day)
    hours = []
    for at, state in sorted(read_day(store, dataset, day).states.items()):
        before, weeks = neighbours(store, dataset, at)
        hour = Hour(dataset, state.rows.drop(VERSION), at, before, weeks)
        views = views_of(dataset)
        judged = [
            (name, views[name].build(hour), [one for one in suite.expectations if one.view == name])
            for name in dict.fromkeys(one.view for one in suite.expectations)
        ]
        title = f"{dataset.name} {at:%Y-%m-%d %H}h"
        page = great.page(title, at, judged, parameters_of(hour))
        store.put(f"{prefix}{at:%H}.html", page.encode())
        hours.append(at)
    store.put(f"{prefix}index.html", _index(dataset.name, day, hours).encode())
    return f"{prefix}index.html"


def _index(dataset: str, day: date, hours: Sequence[datetime]) -> str:
    links = "".join(f'<li><a href="{at:%H}.html">{at:%H}h</a></li>' for at in hours)
    title = f"{escape(dataset)}, {day:%Y-%m-%d} (UTC)"
    return (
        f'<!doctype html><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
        f"<p>The pages load their styles and scripts from public CDNs.</p><ul>{links}</ul>"
    )
