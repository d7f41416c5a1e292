import io
import logging
from collections.abc import Iterator

import pytest

from millrace.feeds import secrets

SECRET = "0123456789abcdef"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    factory, known = logging.getLogRecordFactory(), set(secrets._secrets)
    secrets._secrets.clear()
    secrets.keep_secret(SECRET)
    stream = io.StringIO()
    logger = logging.Logger("somebody.else")
    logger.addHandler(logging.StreamHandler(stream))
    yield logger, stream
    logging.setLogRecordFactory(factory)
    secrets._secrets.clear()
    secrets._secrets.update(known)


def test_a_secret_is_hidden_in_messages_and_their_arguments(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning("GET http://host/%s/json", SECRET)
    logger.warning(f"GET http://host/{SECRET}/json")
    logger.warning("fine: %d %s", 1, "a")
    assert stream.getvalue() == "GET http://host/***/json\n" * 2 + "fine: 1 a\n"


def test_a_secret_is_hidden_in_tracebacks(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        raise ValueError(f"no answer from http://host/{SECRET}/")
    except ValueError:
        logger.exception("it failed")
    assert SECRET not in stream.getvalue()
    assert "ValueError: no answer from http://host/***/" in stream.getvalue()


def test_a_record_whose_arguments_do_not_fit_does_not_break_the_feed(
    log: tuple[logging.Logger, io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, stream = log
    logger.warning("%d things", SECRET)
    assert stream.getvalue() == "%d things ('***',)\n"
    logger.warning("%d things", "no number")
    assert "TypeError" in capsys.readouterr().err, "as logging does without a secret"
