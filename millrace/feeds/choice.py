"""Which feed `default` means: MILLRACE_FEED as text, turned into a feed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from millrace.catalog import Catalog, CatalogError, FeedSpec, load_catalog
from millrace.control.supervised import Supervised, supervised
from millrace.feeds.validate import validate_feed
from millrace.settings import Settings

VARIABLE = "MILLRACE_FEED"
DEFAULT = "city"
TOPIC = "station_polls"


def default_feed(settings: Settings, catalog: Catalog, env: Mapping[str, str] | None = None) -> FeedSpec:
    """The feed of MILLRACE_FEED, from the environment or `<home>/settings.json`, else `city`."""
    env = os.environ if env is None else env
    return feed_from_text(env.get(VARIABLE) or _kept(settings) or DEFAULT, catalog)


def feed_from_text(text: str, catalog: Catalog) -> FeedSpec:
    """A feed from its name in the catalog, or from `gbfs:<URL of a gbfs.json>[,<URL>…]`, for which no entry in
    the catalog is needed.

    Raises CatalogError saying which forms there are.
    """
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if not colon:
        return named_feed(text, catalog)
    if kind != "gbfs" or not rest.strip():
        raise CatalogError(
            f"{text!r} is no feed: write the name of a feed in feeds.yaml "
            f"({', '.join(sorted(catalog.feeds))}) or gbfs:https://…/gbfs.json, several separated by commas"
        )
    urls = [url.strip().removeprefix("gbfs:") for url in rest.split(",") if url.strip()]
    spec = by_address(urls)
    validate_feed(spec)
    return spec


def supervised_here(settings: Settings) -> dict[str, Supervised]:
    """Every stream and feed that can be run here, by the name that control knows it by; also a feed that only
    MILLRACE_FEED names. Raises CatalogError."""
    catalog = load_catalog(settings.catalog_dir)
    more = []
    with suppress(CatalogError):  # a default that is gone must not keep the others from being looked at
        more.append(default_feed(settings, catalog))
    return supervised(catalog, more)


def by_address(urls: Sequence[str] = ()) -> FeedSpec:
    """The feed that needs no entry in the catalog."""
    return FeedSpec(
        name="gbfs",
        kind="gbfs",
        topic=TOPIC,
        description="GBFS systems given by their addresses",
        options={"systems": list(urls)},
    )


def named_feed(name: str, catalog: Catalog) -> FeedSpec:
    """A feed of the catalog, checked. Raises CatalogError naming those there are."""
    spec = catalog.feeds.get(name)
    if spec is None:
        raise CatalogError(
            f"there is no feed {name!r} in feeds.yaml; there are: {', '.join(sorted(catalog.feeds))}"
        )
    validate_feed(spec)
    return spec


def _kept(settings: Settings) -> str | None:
    try:
        content = json.loads((settings.home / "settings.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    value = content.get(VARIABLE)
    return str(value) if value else None
