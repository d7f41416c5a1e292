import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.catalog import CatalogError, FeedSpec, load_catalog
from millrace.feeds.choice import default_feed, feed_from_text
from millrace.feeds.options import CityOptions
from millrace.feeds.validate import parse_options, validate_feed
from millrace.settings import PROJECT_ROOT, load

EXAMPLES = {"bay_area", "seoul", "recorded", "orders_recorded", "tweets"}
CATALOG = load_catalog(PROJECT_ROOT / "catalog")


def spec(kind: str, **options: Any) -> FeedSpec:
    return FeedSpec(name="mine", kind=kind, topic="station_polls", options=options)


def test_every_feed_of_the_catalog_is_valid() -> None:
    for feed in CATALOG.feeds.values():
        validate_feed(feed)
    options = parse_options(CATALOG.feeds["city"], CityOptions)
    assert options.interval.total_seconds() == 30
    assert options == CityOptions(), "the catalog spells out the defaults"


def test_the_commented_examples_of_the_catalog_work_when_uncommented(tmp_path: Path) -> None:
    text = (PROJECT_ROOT / "catalog" / "feeds.yaml").read_text()
    uncommented = re.sub(r"(?m)^# (?=([a-z_]+:$| ))", "", text)
    assert set(yaml.safe_load(uncommented)) == set(CATALOG.feeds) | EXAMPLES
    for name in ("topics", "streams", "datasets"):
        (tmp_path / f"{name}.yaml").write_text((PROJECT_ROOT / "catalog" / f"{name}.yaml").read_text())
    (tmp_path / "feeds.yaml").write_text(uncommented)
    for feed in load_catalog(tmp_path).feeds.values():
        validate_feed(feed)


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        (spec("cities"), r"mine\.kind is 'cities'; the kinds are: city, gbfs, .*seoul"),
        (spec("city", sede=1), r"mine\.options\.sede is not known to kind 'city'; it knows: .*seed"),
        (spec("city", interval="1s"), r"mine\.options\.interval: it must be at least 5s"),
        (spec("city", interval="5500ms"), r"interval: it must be whole seconds"),
        (spec("city", interval="often"), r"interval: 'often' is not a duration"),
        (spec("city", stations=1), r"mine\.options\.stations: "),
        (spec("city", timezone="Mars/Olympus"), r"timezone: it is not a time zone"),
        (spec("gbfs"), r"mine\.options\.systems is missing"),
        (spec("gbfs", systems=[]), r"mine\.options\.systems: "),
        (spec("gbfs", systems=["ftp://x/gbfs.json"]), r"systems\.0\.url: it is not a URL such as"),
        (
            spec("gbfs", systems=[{"url": "http://x/", "id": "a"}]),
            r"systems\.0\.id is not known .* url, system_id",
        ),
        (spec("orders", rate=0), r"mine\.options\.rate: .*greater than 0"),
        (spec("orders", totel=1), r"mine\.options\.totel is not known .* .*rate, .*total"),
        (spec("orders_replay"), r"mine\.options\.file is missing"),
        (spec("orders_replay", file="a", rate="slow"), r"mine\.options\.rate: .*valid number.*found 'slow'"),
        (spec("posts_demo", total=0), r"mine\.options\.total: .*greater than or equal to 1"),
        (spec("tweets", file="a", times="never"), r"mine\.options\.times: .*'recorded' or 'now'"),
        (
            spec("socket", address="localhost"),
            r"mine\.options\.address: it is not an address such as localhost:9999",
        ),
        (spec("socket", form="word"), r"mine\.options\.form: .*'line' or 'post'"),
        (spec("replay", files=[]), r"mine\.options\.files: "),
        (spec("replay", files=["a"], speed=0), r"mine\.options\.speed: "),
    ],
)
def test_bad_options_are_refused_naming_the_key(feed: FeedSpec, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        validate_feed(feed)


def test_a_key_of_seoul_in_the_catalog_is_refused_and_not_repeated() -> None:
    with pytest.raises(CatalogError, match="belongs in the environment, SEOUL_API_KEY") as caught:
        validate_feed(spec("seoul", api_key="abcdef123456"))
    assert "abcdef123456" not in str(caught.value)


def test_a_system_may_be_an_address_or_an_address_with_an_id() -> None:
    validate_feed(
        spec("gbfs", systems=["http://a/gbfs.json", {"url": "http://b/gbfs.json", "system_id": "b"}])
    )


def test_a_feed_is_chosen_by_name_or_by_addresses() -> None:
    assert feed_from_text("city", CATALOG) == CATALOG.feeds["city"]
    one = feed_from_text("gbfs:https://host/gbfs.json", CATALOG)
    assert (one.kind, one.topic, one.options) == (
        "gbfs",
        "station_polls",
        {"systems": ["https://host/gbfs.json"]},
    )
    several = feed_from_text("gbfs:https://a/gbfs.json, gbfs:http://b:8080/gbfs.json", CATALOG)
    assert several.options == {"systems": ["https://a/gbfs.json", "http://b:8080/gbfs.json"]}


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "gbfs:",
        "gbfs:host/gbfs.json",
        "gbfs:http://host:99999/gbfs.json",
        "http://host/gbfs.json",
        "",
    ],
)
def test_a_choice_that_is_none_says_what_there_is(text: str) -> None:
    with pytest.raises(CatalogError, match=r"city|https://example\.org/gbfs\.json"):
        feed_from_text(text, CATALOG)


def test_the_default_comes_from_the_environment_then_the_kept_choice_then_city(tmp_path: Path) -> None:
    settings = load({"MILLRACE_HOME": str(tmp_path)})
    assert default_feed(settings, CATALOG, {}).name == "city"
    (tmp_path / "settings.json").write_text('{"MILLRACE_FEED": "gbfs:http://kept/gbfs.json"}')
    assert default_feed(settings, CATALOG, {}).options == {"systems": ["http://kept/gbfs.json"]}
    chosen = default_feed(settings, CATALOG, {"MILLRACE_FEED": "gbfs:http://env/gbfs.json"})
    assert chosen.options == {"systems": ["http://env/gbfs.json"]}
