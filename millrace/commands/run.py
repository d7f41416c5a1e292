"""`millrace run`: an app by hand, without Airflow and without an object store."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    app: Annotated[
        str, typer.Argument(metavar="APP", help="A stream of the catalog, or an app in spark_apps/.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="kafka://TOPIC, socket://HOST:PORT, files://DIRECTORY or rate://ROWS; else the catalog's."
        ),
    ] = None,
    sink: Annotated[
        list[str] | None, typer.Option(help="console (the default) or kafka://TOPIC; may be repeated.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="key=value: an option of the app; may be repeated.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option(help="The time between micro-batches, such as 2s; else the catalog's.")
    ] = None,
) -> None:
    """Run an app here and now, with its state in memory, and print what each micro-batch brings.

    In one terminal `nc -lk 9999`, in another

      millrace run word_count --source socket://localhost:9999

    and type into the first. Ctrl-C ends it.
    """
    from millrace import settings
    from millrace.by_hand import first_words, last_words, spec_by_hand
    from millrace.catalog import CatalogError, format_duration, load_catalog
    from millrace.kafka_topics import KafkaUnavailable, TopicError, ensure_topics
    from millrace.local.errors import StackError
    from spark_apps.runtime.app import app_names, fold_of_app
    from spark_apps.runtime.by_hand import HandRun
    from spark_apps.runtime.errors import DriverError, SinkUnavailable

    def say(text: str) -> None:
        typer.echo(f"millrace: {text}", err=True)

    try:
        here = settings.load()
        catalog = load_catalog(here.catalog_dir)
        spec = spec_by_hand(
            catalog,
            app,
            app_names(),
            source=source,
            sinks=sink or (),
            options=option or (),
            trigger=trigger,
        )
        try:
            fold = fold_of_app(spec)
        except CatalogError as error:
            raise CatalogError(
                str(error).replace(f"catalog/streams.yaml: {app}.options.", "--option ")
            ) from None
        topics = {sink.address for sink in spec.sinks if sink.kind == "kafka"}
        topics |= {spec.topic} if spec.source.kind == "kafka" else set()
        if topics:
            ensure_topics(here.kafka_access, [catalog.topics[name] for name in sorted(topics)], timeout=10)
        say(f"{app} reads {first_words(spec.source)}; every {format_duration(spec.trigger)} a micro-batch")
        say("starting Spark, some ten seconds; Ctrl-C ends it")
        done = HandRun(spec, here, fold, say).run()
    except (
        CatalogError,
        settings.SettingsError,
        StackError,
        DriverError,
        TopicError,
        KafkaUnavailable,
        SinkUnavailable,
        ConnectionError,
    ) as error:
        say(str(error))
        raise typer.Exit(1) from None
    say(
        f"{app} ended: {done.batches:,} micro-batches, {done.records:,} records, {done.rejected:,} of them rejected; "
        "nothing of it is kept"
    )
    say(f"next: {last_words(spec, app in catalog.streams)}")
