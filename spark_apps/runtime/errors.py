"""Why a driver ends, each with the exit code that tells the stream host what to do about it."""

from __future__ import annotations

from millrace.control import exit_codes


class DriverError(Exception):
    """A deliberate end of a driver; the message says what was wrong, where, and what to do."""

    exit_code = 1


class BadConfiguration(DriverError):
    """The catalog, the environment or the checkpoint does not allow this driver to run."""

    exit_code = exit_codes.BAD_CONFIGURATION


class Fenced(DriverError):
    """Another driver has taken over."""

    exit_code = exit_codes.FENCED


class PoisonedBatch(DriverError):
    """One micro-batch fails each time it is tried."""

    exit_code = exit_codes.POISONED_BATCH


class SinkUnavailable(Exception):
    """A sink outside the store did not take a batch's messages; the batch may be tried again as it is."""


class JvmGone(DriverError):
    """The other half of this driver has died; the host starts both again."""


class CheckpointShared(DriverError):
    """Another driver worked on the same checkpoint; the host starts this one again, unless that one is newer."""


class SourceClosed(DriverError):
    """The other side of a source ended the connection, or never answered; the host starts the driver again."""


class StopRequested(Exception):
    """Not an error: the driver was asked to stop before it began another micro-batch."""
