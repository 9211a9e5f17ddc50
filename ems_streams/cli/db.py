"""`ems-streams db`: the schema in PostgreSQL, its partitions, and where the sink is."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ems_streams.cli.output import JsonOption, console, print_json, print_table
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ems_streams.postgres.connection import Connection
    from ems_streams.settings import Settings

app = typer.Typer(help="The database of the sink: schema, partitions, offsets.", no_args_is_help=True, rich_markup_mode=None)

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.")]


@app.command()
def migrate(json: JsonOption = False) -> None:
    """Bring the schema to what this release needs; does nothing when it is there already. The sink does it at its start, too."""
    from ems_streams.postgres import migrate as migration

    version = _patiently(migration.migrate)
    if json:
        print_json({"current": version.current, "head": version.head})
    else:
        console().print(f"schema {version.current}")


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the schema's revision, the partitions of each table and the stored offsets; change nothing. Exit 1 before a migration."""
    from ems_streams.postgres import migrate as migration
    from ems_streams.postgres.status import database_status

    version = _patiently(migration.schema_version)
    found = _on_connection(database_status) if version.current == version.head else {"tables": [], "offsets": []}
    if json:
        print_json({"current": version.current, "head": version.head, **found})
    else:
        console().print(f"schema {version.current}, this release needs {version.head}")
        tables = [
            (each["name"], each["kind"], each["partitions"], each["first"], each["last"], each["rowsAbout"]) for each in found["tables"]
        ]
        print_table(("TABLE", "KIND", "PARTITIONS", "FIRST", "LAST", "ROWS ABOUT"), tables, right=("PARTITIONS", "ROWS ABOUT"))
        offsets = [(each["group"], each["topic"], each["partition"], each["nextOffset"], each["updatedAt"]) for each in found["offsets"]]
        print_table(("GROUP", "TOPIC", "PARTITION", "NEXT OFFSET", "UPDATED"), offsets, right=("PARTITION", "NEXT OFFSET"))
    if version.current != version.head:
        raise typer.Exit(1)


@app.command()
def maintain(json: JsonOption = False) -> None:
    """Make the partitions of the next days and drop those past retention, as the sink does every hour."""
    from datetime import UTC, datetime

    from ems_streams.postgres import partitions

    done = _on_connection(lambda connection, settings: partitions.maintain(connection, settings, datetime.now(UTC)))
    if json:
        print_json({"made": list(done.made), "dropped": list(done.dropped)})
    else:
        print_table(("DONE", "PARTITION"), [("made", name) for name in done.made] + [("dropped", name) for name in done.dropped])


@app.command(name="forget-offsets")
def forget_offsets(topic: TopicArgument, json: JsonOption = False) -> None:
    """Let the sink read a topic from its beginning at its next start: for one that was made anew. Rows that are stored stay, once."""
    from ems_streams.postgres import offsets

    partitions = _on_connection(lambda connection, settings: offsets.forget(connection, settings.sink_group, topic))
    if json:
        print_json({"topic": topic, "partitions": partitions})
    else:
        console().print(f"{topic}: offsets of {partitions} partitions forgotten")


@app.command()
def roles(
    database: Annotated[str, typer.Option("--database", help="Name of the database.")] = "ems",
    json: JsonOption = False,
) -> None:
    """Print the statements that make users with least rights: for the sink, for the gateway, for people. Changes nothing, connects to nothing."""
    from ems_streams.postgres.roles import Roles, role_statements

    if not database.isidentifier():
        raise UsageError(f"--database {database!r}: expected a name of letters, digits and underscores")
    statements = role_statements(database, Roles())
    if json:
        print_json({"statements": statements})
    else:
        console().print("\n".join(statements), markup=False, soft_wrap=True)


def _on_connection(work: "Callable[[Connection, Settings], Awaitable[Any]]") -> Any:
    from ems_streams.postgres.connection import close, connect

    async def connected(settings: "Settings") -> Any:
        connection = await connect(settings, "ems-db")
        try:
            return await work(connection, settings)
        finally:
            await close(connection)

    return _patiently(connected)


def _patiently(work: "Callable[[Settings], Awaitable[Any]]") -> Any:
    """Try for about eight seconds; raises `DependencyError` then."""
    import stamina

    from ems_streams.postgres.connection import SERVER_ERRORS, unreachable
    from ems_streams.settings import Settings

    settings = Settings.load()

    @stamina.retry(on=OSError, attempts=None, timeout=8.0, wait_max=1.0)
    async def tried() -> Any:
        return await work(settings)

    try:
        return asyncio.run(tried())
    except SERVER_ERRORS as error:
        raise unreachable(settings, error) from None
