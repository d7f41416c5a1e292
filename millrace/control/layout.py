"""Where the control objects of a stream are in the bucket, and the base of what is in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError

CONTROL = "control/"
_NUMBERED = re.compile(r"(\d{8,})\.json")


class ControlObjectError(ValueError):
    """A control object cannot be understood; the message names its key and what is wrong with it."""


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""An instant in UTC; a time without a zone is refused rather than guessed."""


class ControlObject(BaseModel):
    """Keys that are not known are ignored: a newer driver or a newer Airflow may have written the object."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    def to_body(self) -> bytes:
        return self.model_dump_json(indent=2).encode()


Model = TypeVar("Model", bound=ControlObject)


def parse(model: type[Model], body: bytes, key: str) -> Model:
    """The object in `body`. Raises ControlObjectError naming `key` and the first field that is wrong."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole object"
        raise ControlObjectError(
            f"{key} is not a readable {model.__name__}: {field}: {first['msg']} "
            f"({error.error_count()} problem(s) in all); mend the object or delete it"
        ) from None


def stream_prefix(stream: str) -> str:
    return f"{CONTROL}{stream}/"


def desired_key(stream: str) -> str:
    return f"{stream_prefix(stream)}desired.json"


def history_key(stream: str) -> str:
    return f"{stream_prefix(stream)}history.json"


def epochs_prefix(stream: str) -> str:
    return f"{stream_prefix(stream)}epochs/"


def epoch_key(stream: str, driver_epoch: int) -> str:
    return f"{epochs_prefix(stream)}{driver_epoch:08d}.json"


def status_prefix(stream: str) -> str:
    return f"{stream_prefix(stream)}status/"


def status_key(stream: str, driver_epoch: int) -> str:
    return f"{status_prefix(stream)}{driver_epoch:08d}.json"


def preflight_key(stream: str) -> str:
    """How it is with the preflight of the newest redeploy."""
    return f"{stream_prefix(stream)}preflight.json"


def orders_prefix(stream: str) -> str:
    return f"{stream_prefix(stream)}orders/"


def order_key(stream: str, revision: int) -> str:
    return f"{orders_prefix(stream)}{revision:08d}.json"


def outcome_key(stream: str, revision: int) -> str:
    """How an order ended that is carried out later and may be refused then."""
    return f"{orders_prefix(stream)}{revision:08d}.outcome.json"


def number_of(key: str) -> int | None:
    """The number in the name of an epoch, status or order object; None for a foreign object."""
    match = _NUMBERED.fullmatch(key.rsplit("/", 1)[-1])
    return int(match[1]) if match else None
