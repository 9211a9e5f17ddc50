"""`ems-streams tokens`: bearer tokens of the gateway, kept as hashes in a file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ems_streams.cli.output import JsonOption, console, error_console, print_json, print_table
from ems_streams.cli.times import duration_of, time_of
from ems_streams.errors import UsageError

if TYPE_CHECKING:
    from ems_streams.access.token_entries import TokenEntry

app = typer.Typer(
    help="Bearer tokens of the gateway: a file has their hashes, with roles and sites.", no_args_is_help=True, rich_markup_mode=None
)

FileOption = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="File of tokens; default that of EMS_GATEWAY_TOKENS_FILE.")]


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="Of whoever gets it: what is done with the token is done by this name.")],
    role: Annotated[str, typer.Option("--role", help="viewer, operator or admin.")],
    sites: Annotated[str, typer.Option("--sites", metavar="IDS", help="Site ids separated by commas, or all.")],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="When it ends: a time, or after a time such as 90d; default never.")
    ] = None,
    file: FileOption = None,
    json: JsonOption = False,
) -> None:
    """Make a token, and show it this once: into the file, if there is one, goes its hash. A gateway that runs knows it within a second."""
    from ems_streams.access.token_entries import entry_yaml, hash_of, new_token
    from ems_streams.access.token_file import add_token

    token = new_token()
    entry = _entry(name, hash_of(token), role, sites, expires)
    path = _file(file)
    if path is not None:
        add_token(path, entry)
    if json:
        print_json({"token": token, **_view(entry), "entry": entry_yaml(entry), "file": None if path is None else str(path)})
        return
    console().print(token, markup=False)
    if path is None:
        error_console().print("It is shown this once. To the list tokens: of the gateway's file of tokens add:", markup=False)
        error_console().print(entry_yaml(entry), markup=False, end="")
    else:
        error_console().print(f"It is shown this once. Its hash is in {path}.", markup=False)


@app.command(name="list")
def list_(file: FileOption = None, json: JsonOption = False) -> None:
    """List the tokens of the file, without the tokens themselves; mistakes of the file are told with their lines."""
    from ems_streams.access.token_file import load_tokens

    path = _file(file)
    if path is None:
        raise UsageError("there is no file of tokens: set EMS_GATEWAY_TOKENS_FILE, or give --file")
    views = [_view(entry) for entry in load_tokens(path)]
    if json:
        print_json({"file": str(path), "tokens": views})
        return
    rows = [(each["name"], each["role"], _sites_shown(each["sites"]), _until(each)) for each in views]
    print_table(("NAME", "ROLE", "SITES", "EXPIRES"), rows)


def _file(file: Path | None) -> Path | None:
    from ems_streams.settings import Settings

    return file if file is not None else Settings.load().gateway_tokens_file


def _entry(name: str, token_hash: str, role: str, sites: str, expires: str | None) -> "TokenEntry":
    from pydantic import ValidationError

    from ems_streams.access.roles import Role
    from ems_streams.access.token_entries import TokenEntry

    if role not in set(Role):
        raise UsageError(f"--role {role!r}: expected {', '.join(Role)}")
    fields = {"name": name, "hash": token_hash, "role": role, "sites": _sites(sites)}
    if expires is not None:
        fields["expires"] = _expiry(expires)
    try:
        return TokenEntry.model_validate(fields)
    except ValidationError as error:
        if error.errors()[0]["loc"][0] == "sites":
            raise _bad_sites(sites) from None
        raise UsageError(f"--name {name!r}: expected a letter or digit, then up to 63 of letters, digits and _.@-") from None


def _sites(text: str) -> object:
    if text == "all":
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 19 for part in parts):
        raise _bad_sites(text)
    return [int(part) for part in parts]


def _bad_sites(text: str) -> UsageError:
    return UsageError(f"--sites {text!r}: expected all, or site ids separated by commas, such as 1,2")


def _expiry(text: str) -> datetime:
    now = datetime.now(UTC).replace(microsecond=0)
    later = text[:-1].isdecimal() and text[-1:].isalpha()
    moment = now + duration_of("--expires", text) if later else time_of("--expires", text, "a time from now, such as 90d, or ")
    if moment <= now:
        raise UsageError(f"--expires {text!r}: expected a time that is still to come")
    return moment


def _view(entry: "TokenEntry") -> dict[str, object]:
    over = entry.expires is not None and entry.expires <= datetime.now(UTC)
    return {
        "name": entry.name,
        "role": str(entry.role),
        "sites": "all" if entry.sites is None else sorted(entry.sites),
        "expiresAt": None if entry.expires is None else entry.expires.isoformat().replace("+00:00", "Z"),
        "expired": over,
    }


def _sites_shown(sites: object) -> str:
    return ", ".join(map(str, sites)) if isinstance(sites, list) else str(sites)


def _until(view: dict[str, object]) -> str:
    return f"{view['expiresAt'] or 'never'}{' (is over)' if view['expired'] else ''}"
