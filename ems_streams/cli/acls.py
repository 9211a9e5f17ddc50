"""`ems-streams acls`: the rights of our principals on the Kafka cluster: what they should be, what differs, and giving them."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from ems_streams.cli.output import JsonOption, error_console, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ems_streams.kafka.acls import Acl, AclPlan
    from ems_streams.settings import Settings

app = typer.Typer(help="Rights on Kafka: who may read and write what.", no_args_is_help=True, rich_markup_mode=None)

PrefixOption = Annotated[
    str | None,
    typer.Option("--principal-prefix", metavar="PREFIX", help="What the names of principals begin with (EMS_KAFKA_PRINCIPAL_PREFIX)."),
]


@app.command()
def plan(
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when a right is missing or superfluous.")] = False,
    principal_prefix: PrefixOption = None,
    json: JsonOption = False,
) -> None:
    """Show which rights our principals lack, and which they have and do not need; change nothing."""
    from ems_streams.kafka.acls import plan_acls
    from ems_streams.processes.rights import acls_of

    settings = _settings(principal_prefix)
    found = asyncio.run(plan_acls(settings, acls_of(settings)))
    if json:
        print_json([*_json(found.missing, "missing"), *_json(found.superfluous, "superfluous"), *_json(found.present, "present")])
    else:
        _print(found, "missing", "superfluous")
        _say(f"{len(found.missing)} missing, {len(found.superfluous)} superfluous, {len(found.present)} as they should be")
    if check and (found.missing or found.superfluous):
        raise typer.Exit(1)


@app.command()
def apply(
    prune: Annotated[bool, typer.Option("--prune", help="Also take away what our principals have and do not need.")] = False,
    principal_prefix: PrefixOption = None,
    json: JsonOption = False,
) -> None:
    """Give our principals the rights that they lack. ACLs of other principals are never touched. Exit 1 when superfluous ones remain."""
    from ems_streams.kafka.acls import apply_acls
    from ems_streams.processes.rights import acls_of

    settings = _settings(principal_prefix)
    done = asyncio.run(apply_acls(settings, acls_of(settings), prune=prune))
    word = "removed" if prune else "superfluous"
    if json:
        print_json([*_json(done.missing, "created"), *_json(done.superfluous, word), *_json(done.present, "present")])
    else:
        _print(done, "created", word)
        left = "" if prune or not done.superfluous else "; `--prune` takes what is superfluous away"
        _say(f"{len(done.missing)} created, {len(done.superfluous)} {word}, {len(done.present)} were as they should be{left}")
    if done.superfluous and not prune:
        raise typer.Exit(1)


def _settings(principal_prefix: str | None) -> "Settings":
    from ems_streams.settings import Settings

    return Settings.load(**({} if principal_prefix is None else {"kafka_principal_prefix": principal_prefix}))


def _print(found: "AclPlan", missing: str, superfluous: str) -> None:
    rows = [*_rows(found.missing, missing), *_rows(found.superfluous, superfluous)]
    if rows:
        print_table(("PRINCIPAL", "ACTION", "OPERATION", "ON", "NAME"), rows)


def _rows(acls: "Sequence[Acl]", word: str) -> list[tuple[object, ...]]:
    return [(each.principal, word, _operation(each), each.resource.lower(), each.name + ("*" if each.prefixed else "")) for each in acls]


def _operation(acl: "Acl") -> str:
    where = "" if acl.host == "*" else f" from {acl.host}"
    return f"{'' if acl.allowed else 'not '}{acl.operation}{where}"


def _json(acls: "Sequence[Acl]", action: str) -> list[dict[str, object]]:
    return [{**each.view(), "action": action} for each in acls]


def _say(text: str) -> None:
    error_console().print(f"acls: {text}", markup=False)
