"""One format for everything that is logged, and quiet libraries."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from ems_streams.ops.logs import configure_logging
from ems_streams.settings import Settings


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def configured(level: str = "INFO", form: str = "json") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(Settings.load(log_level=level, log_format=form), process="worker", stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_the_libraries_lines_have_one_form() -> None:
    stream = configured()

    structlog.get_logger("ours").info("batch_written", records=3)
    logging.getLogger("theirs").warning("slow: %s", "very")

    ours, theirs = lines(stream)
    assert (ours["event"], ours["records"], ours["level"], ours["logger"], ours["process"]) == (
        "batch_written",
        3,
        "info",
        "ours",
        "worker",
    )
    assert (theirs["event"], theirs["level"], theirs["logger"], theirs["process"]) == ("slow: very", "warning", "theirs", "worker")
    assert str(ours["timestamp"]).endswith("Z")


def test_the_kafka_client_leaves_outages_to_us_to_report() -> None:
    stream = configured()
    logging.getLogger("aiokafka.conn").error("connection refused, ten times a second")
    assert lines(stream) == []


@pytest.mark.parametrize("library", ["faust.worker", "mode.services", "aiomqtt.client", "aiohttp.access"])
def test_libraries_are_quiet_unless_something_is_wrong_or_debug_is_on(library: str) -> None:
    stream = configured()
    logging.getLogger(library).info("chatter")
    logging.getLogger(library).warning("trouble")
    assert [line["event"] for line in lines(stream)] == ["trouble"]

    stream = configured(level="DEBUG")
    logging.getLogger(library).info("chatter")
    assert [line["event"] for line in lines(stream)] == ["chatter"]


def test_the_level_holds_for_both() -> None:
    stream = configured(level="ERROR")

    structlog.get_logger("ours").warning("no")
    logging.getLogger("faust").warning("no")
    structlog.get_logger("ours").error("yes")

    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_an_exception_is_a_field_of_the_line() -> None:
    stream = configured()

    try:
        raise ValueError("of all things")
    except ValueError:
        structlog.get_logger("ours").exception("failed")

    (line,) = lines(stream)
    assert "ValueError: of all things" in str(line["exception"])


def test_warnings_are_logged() -> None:
    stream = configured()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old way", UserWarning, stacklevel=1)

    assert "old way" in stream.getvalue()


def test_people_get_plain_text_without_colours_in_a_file() -> None:
    stream = configured(form="console")

    structlog.get_logger("ours").info("batch_written", records=3)

    assert "batch_written" in stream.getvalue()
    assert "records=3" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
