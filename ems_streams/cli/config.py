"""`ems-streams config`: which settings are in force, and where each comes from."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from ems_streams.cli.output import JsonOption, print_json, print_table

if TYPE_CHECKING:
    from ems_streams.settings import Settings

MASK = "***"
_URL_PASSWORD = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*):[^/?#\s]*@")

app = typer.Typer(help="Settings in force.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keep `show` a subcommand while it is the only one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people see it: the name they set it by, the masked value, and where that comes from."""

    name: str
    value: Any
    source: str
    description: str


@app.command()
def show(json: JsonOption = False) -> None:
    """Print every setting with its value, source and meaning; secrets are hidden."""
    from ems_streams.settings import Settings

    settings = effective(Settings.load())
    if json:
        print_json([{"name": each.name, "value": each.value, "source": each.source, "description": each.description} for each in settings])
        return
    print_table(
        ("SETTING", "VALUE", "SOURCE", "MEANING"),
        [(each.name, "" if each.value is None else each.value, each.source, each.description) for each in settings],
    )


def effective(settings: "Settings") -> list[Setting]:
    """Every setting of a process that was started here and now, in the order of their definition."""
    from ems_streams.settings import EnvironmentSource, Settings, environment_names

    sources = EnvironmentSource(Settings)
    return [
        Setting(
            name=environment_names(name, field)[0],
            value=shown(getattr(settings, name)),
            source=sources.lookup(name, field)[1],
            description=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def shown(value: Any) -> Any:
    """The value for people: passwords inside URLs and whole secrets are masked; numbers and booleans stay what they are."""
    from pydantic import SecretStr

    from ems_streams.settings import as_set

    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return without_password(text) if "://" in text else MASK
    return without_password(str(as_set(value)))


def without_password(text: str) -> str:
    """The text with the password of every URL in it masked."""
    return _URL_PASSWORD.sub(rf"\g<before>:{MASK}@", text)
