"""Logs of every process: structlog, for people or as JSON, on stderr; what libraries log goes through the same renderer."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ems_streams.settings import Settings

# At INFO these report every assignment, timer and table: a normal minute of operation must log nothing.
_NOISY = ("faust", "mode", "aiokafka", "kafka", "aiohttp.access", "asyncio", "aiomqtt", "alembic", "sqlalchemy")

# While Kafka is away its client says so ten times a second, as errors; our own probe and breaker say it once.
_QUIET_LEVELS = {"aiokafka": logging.CRITICAL}


def configure_logging(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Set up logging of this process, once, before anything logs; a second call replaces the first.

    Args:
        settings: `log_level` and `log_format`.
        process: Name that every line carries, such as `worker`.
        stream: Where lines go; stderr by default, since stdout belongs to the data a command prints.
    """
    stream = stream or sys.stderr
    shared = _shared_processors(process)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings, stream)],
        )
    )
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _NOISY:
        _quieten(name, settings)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _quieten(name: str, settings: Settings) -> None:
    logger = logging.getLogger(name)
    # Libraries that bring handlers of their own would print each line twice, and not in our format.
    logger.handlers.clear()
    logger.propagate = True
    lowest = logging.DEBUG if settings.log_level == "DEBUG" else _QUIET_LEVELS.get(name, logging.WARNING)
    logger.setLevel(max(lowest, logging.getLevelName(settings.log_level)))


def _shared_processors(process: str) -> list[Processor]:
    def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        add_process,
    ]


def _renderers(settings: Settings, stream: TextIO) -> list[Processor]:
    if settings.log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.EventRenamer("event"), structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback)]
