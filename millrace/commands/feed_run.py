"""What the `millrace feed` commands share: their common options, running a feed, errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from millrace.catalog import Catalog, CatalogError, FeedSpec
    from millrace.settings import Settings

STOPPED_EARLY = 1
BAD_CONFIGURATION = 2

Kafka = Annotated[
    str | None,
    typer.Option("--kafka", help="Bootstrap servers; else MILLRACE_KAFKA, else the local stack."),
]
Once = Annotated[bool, typer.Option("--once", help="Do what is due now, then end.")]


def run_by_hand(
    kind: str, options: dict[str, Any], kafka: str | None, once: bool, topic: str | None = None
) -> None:
    from millrace.catalog import CatalogError, FeedSpec
    from millrace.feeds.kinds import KINDS
    from millrace.feeds.validate import validate_feed

    """Run a feed that is not in the catalog; its options come from the command line, and so do their errors."""
    with errors_in_one_line():
        settings, catalog = load(kafka)
        spec = FeedSpec(name=f"{kind}_by_hand", kind=kind, topic=topic or KINDS[kind].topic, options=options)
        try:
            validate_feed(spec)
        except CatalogError as error:
            raise of_arguments(error, spec) from None
        run(spec, settings, catalog, once)


def of_arguments(error: CatalogError, spec: FeedSpec) -> CatalogError:
    """The same error, naming the arguments of a command instead of keys of a file."""
    words = str(error).replace(f"feeds.yaml: {spec.name}.options.", "--")
    return type(error)(words.replace("--system_id", "--system-id"))


def load(kafka: str | None) -> tuple[Settings, Catalog]:
    from dataclasses import replace

    from millrace import settings
    from millrace.catalog import load_catalog

    found = settings.load()
    if kafka:
        found = replace(found, kafka=kafka)
    return found, load_catalog(found.catalog_dir)


def run(spec: FeedSpec, settings: Settings, catalog: Catalog, once: bool) -> None:
    import logging
    import time

    from millrace.feeds.run import run_feed

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    logging.Formatter.converter = time.gmtime
    logging.Formatter.default_msec_format = "%s.%03dZ"
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO is a line with the URL per request
    run_feed(spec, settings, catalog, once=once)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """What a person can mend is one line and an exit status; anything else keeps its traceback."""
    from millrace.catalog import CatalogError
    from millrace.feeds.compressed import RecordedError
    from millrace.feeds.http import FetchFailed
    from millrace.feeds.interrupted import Interrupted
    from millrace.feeds.sink import DeliveryError
    from millrace.kafka_topics import KafkaUnavailable, TopicError
    from millrace.settings import SettingsError

    try:
        yield
    except (CatalogError, SettingsError, TopicError, RecordedError) as error:
        status, message = BAD_CONFIGURATION, str(error)
    except (KafkaUnavailable, DeliveryError, FetchFailed, Interrupted) as error:
        status, message = STOPPED_EARLY, str(error)
    except OSError as error:
        if error.filename is None:
            raise
        status, message = STOPPED_EARLY, f"{error.filename}: {error.strerror}"
    else:
        return
    typer.echo(f"millrace: {message}", err=True)
    raise typer.Exit(status)
