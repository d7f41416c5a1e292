"""`millrace prune`: let go what the catalog's retention says."""

from __future__ import annotations

from typing import Annotated

import typer


def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; touch nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="As one JSON object, for scripts.")] = False,
) -> None:
    """Remove what is older than `retention` in the catalog allows; docs/retention.md says what that is.

    Published hours are not deleted but replaced by empty objects. Safe beside everything that is running, and
    safe to repeat; the DAG `maintenance` does the same once a day. Exit status 1 when something was left undone.
    """
    import json
    import sys

    from millrace import settings
    from millrace.catalog import CatalogError, load_catalog
    from millrace.retention.prune import as_json
    from millrace.retention.prune import prune as run
    from millrace.retention.tell import text_of
    from millrace.store import StoreError, open_store

    try:
        here = settings.load()
        report = run(open_store(here), load_catalog(here.catalog_dir), dry_run=dry_run)
    except (CatalogError, StoreError, ValueError) as error:
        print(f"millrace: {error}", file=sys.stderr)
        sys.exit(1)
    print(json.dumps(as_json(report), indent=2) if json_ else text_of(report))
    sys.exit(1 if report.problems else 0)
