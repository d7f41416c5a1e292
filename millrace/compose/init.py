"""The first step of the containers: everything that must be there once, made if it is missing.

Airflow's database and its pool, the topics of the catalog, the bucket. Harmless when repeated, which it is at every
`docker compose up`; an upgrade migrates here.
"""

from __future__ import annotations

import sys
import time

from millrace import settings
from millrace.catalog import CatalogError, load_catalog
from millrace.kafka_topics import KafkaUnavailable, TopicError, ensure_topics
from millrace.local import airflow_database
from millrace.settings import SettingsError
from millrace.store import StoreError, open_store

KAFKA_WITHIN = 180.0


def main() -> None:
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {what}", flush=True)

    here = settings.load()
    catalog = load_catalog(here.catalog_dir)
    catalog.started(here.streams)
    catalog.begun_feeds(here.feeds)
    made = ensure_topics(here.kafka_access, catalog.topics, timeout=KAFKA_WITHIN)
    say(f"{len(catalog.topics)} topics are there, made: {', '.join(made) or 'none'}")
    open_store(here).ensure_bucket()
    say(f"the bucket {here.bucket} is there")
    airflow_database.migrate()
    say("Airflow's database is current")


if __name__ == "__main__":
    try:
        main()
    except (SettingsError, CatalogError, TopicError, KafkaUnavailable, StoreError) as problem:
        print(f"init: {problem}", file=sys.stderr)
        sys.exit(1)
