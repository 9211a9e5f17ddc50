"""Running what a command does with the settings."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ems_streams.settings import Settings

T = TypeVar("T")


def run_with_settings(process: str, work: "Callable[[Settings], Awaitable[T]]") -> T:
    """Load the settings, send logs where they belong, and run to the end."""
    import uvloop

    from ems_streams.ops.logs import configure_logging
    from ems_streams.settings import Settings

    settings = Settings.load()
    configure_logging(settings, process)

    async def running() -> T:
        return await work(settings)

    return uvloop.run(running())
