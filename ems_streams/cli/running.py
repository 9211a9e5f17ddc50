"""How a command runs its work: with the settings, its logs and an event loop."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from ems_streams.settings import Settings

T = TypeVar("T")


def run_with_settings(name: str, work: "Callable[[Settings], Awaitable[T]]") -> T:
    """Run the work of a command to its end; Ctrl-C ends it with 130."""
    import uvloop

    from ems_streams.ops.logs import configure_logging
    from ems_streams.settings import Settings

    settings = Settings.load()
    configure_logging(settings, name)

    async def running() -> T:
        return await work(settings)

    try:
        return uvloop.run(running())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
