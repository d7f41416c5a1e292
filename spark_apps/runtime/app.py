"""The command line that every streaming app has: which spec to run, where, and what an exit means."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace import settings
from millrace.catalog import Catalog, CatalogError, StreamSpec, explained, load_catalog
from millrace.control import exit_codes
from millrace.settings import SettingsError
from spark_apps.runtime.keyed_fold import KeyedFold

Options = TypeVar("Options", bound=BaseModel)


class NoOptions(BaseModel):
    """For an app that needs none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def options_of(spec: StreamSpec, model: type[Options]) -> Options:
    """A stream's `options` as the app's own model. Raises CatalogError that names the key."""
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        raise CatalogError(
            "; ".join(
                explained("catalog/streams.yaml", f"{spec.name}.options", one) for one in error.errors()
            )
        ) from None


def fold_of_app(spec: StreamSpec) -> KeyedFold:
    """The transform of a stream, by the name of its app. Raises CatalogError when there is no such app."""
    try:
        module = importlib.import_module(f"spark_apps.{spec.app}")
        fold_of: Callable[[StreamSpec], KeyedFold] = module.fold_of
    except (ModuleNotFoundError, AttributeError):
        raise CatalogError(
            f"catalog/streams.yaml: {spec.name}.app: spark_apps/{spec.app}.py is not there, or has no `fold_of`"
        ) from None
    return fold_of(spec)


def app_names() -> list[str]:
    """The streaming apps in spark_apps/: the modules that have a `fold_of`."""
    here = Path(__file__).parent.parent
    return sorted(
        file.stem for file in here.glob("*.py") if "def fold_of(" in file.read_text(encoding="utf-8")
    )


def run_app(
    name: str, fold_of: Callable[[StreamSpec], KeyedFold], arguments: Sequence[str] | None = None
) -> int:
    """Run a stateful app; return its exit code. `fold_of` makes the transform from the stream's spec."""
    options = _parser(name).parse_args(arguments)
    start_logging()
    try:
        found = settings.load()
        catalog = load_catalog(found.catalog_dir)
        spec = read_spec(options.spec) if options.spec else catalog.streams[options.stream]
        fold = checked_fold(spec, catalog, fold_of)
    except (SettingsError, CatalogError) as error:
        logging.error("%s: %s", name, error)
        return exit_codes.BAD_CONFIGURATION
    except KeyError:
        logging.error("%s: catalog/streams.yaml has no stream %r", name, options.stream)
        return exit_codes.BAD_CONFIGURATION
    from spark_apps.runtime.stream_driver import StreamDriver

    try:
        dataset = catalog.datasets[spec.dataset] if spec.dataset is not None else None
        driver = StreamDriver(spec, dataset, found, fold, options.revision)
    except SettingsError as error:
        logging.error("%s: %s", name, error)
        return exit_codes.BAD_CONFIGURATION
    return driver.run()


def start_logging() -> None:
    """Logging as every driver has it: to standard error, in UTC, without the chatter of libraries."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=os.environ.get("MILLRACE_LOG_LEVEL", "INFO"),
        format="%(asctime)sZ %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    for chatty in ("py4j", "botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def checked_fold(spec: StreamSpec, catalog: Catalog, fold_of: Callable[[StreamSpec], KeyedFold]) -> KeyedFold:
    """The stream's transform, once what it needs is there. Raises CatalogError."""
    if spec.dataset is not None and spec.dataset not in catalog.datasets:
        raise CatalogError(f"{spec.name}: dataset {spec.dataset!r} is not in catalog/datasets.yaml")
    fold = fold_of(spec)
    if spec.buckets > 1 and not fold.is_divisible:
        raise CatalogError(
            f"catalog/streams.yaml: {spec.name}.buckets must be 1: this app counts over all keys"
        )
    return fold


def main(name: str, fold_of: Callable[[StreamSpec], KeyedFold]) -> None:
    """`run_app` as a program: ends the process at once, whatever threads a lost JVM has left behind."""
    code = run_app(name, fold_of)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m spark_apps.{name}", description=f"Run the stream app {name}."
    )
    parser.add_argument("--stream", default=name, help="which entry of catalog/streams.yaml to run")
    parser.add_argument("--spec", type=Path, help="a JSON file with the entry, instead of the catalog's")
    parser.add_argument("--revision", type=int, default=0, help="the spec_revision that this driver runs")
    return parser


def read_spec(path: Path) -> StreamSpec:
    """A stream's entry from a JSON file. Raises CatalogError."""
    try:
        return StreamSpec.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CatalogError(f"{path} is missing") from None
    except (ValueError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}") from None
