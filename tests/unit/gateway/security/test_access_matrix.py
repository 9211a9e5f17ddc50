"""Every route by every role, for every site, its own and another one: exactly what the table in the docs says."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from ems_streams.gateway.security.access import ACCESS
from ems_streams.gateway.server import Gateway
from ems_streams.settings import Settings
from tests.support.guarded_gateway import ALARM_NONE, ALARM_OTHER, ALARM_OWN, OTHER, OWN, Guarded, guarded

TABLE = Path(__file__).parents[4] / "docs/reference/http-access.md"
ROW = re.compile(r"\| `(\w+) (\S+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \| (.+) \|")
ROLES = ("viewer", "operator", "admin")
OF_A_SITE = {
    "{serial}": ("D1", "D2", "D9"),
    "{siteId}": (str(OWN), str(OTHER), "9"),
    "{commandId}": ("D1~k", "D2~k", "D9~k"),
    "{alarmId}": (ALARM_OWN, ALARM_OTHER, ALARM_NONE),
}
"""What stands for a parameter: of the token's site, of another one, of none."""
OTHERS = {
    "{windowId}": "mw-1",
    "{topic}": "device-telemetry-dlt",
    "{partition}": "0",
    "{offset}": "0",
    "{redriveId}": "rd-none",
    "{name}": "app.js",
}


def rows() -> list[tuple[str, str, dict[str, str], str]]:
    """Method, pattern, what each role and nobody gets, and what a token for some sites gets."""
    found = []
    for line in TABLE.read_text().splitlines():
        if row := ROW.fullmatch(line):
            method, pattern, *answers, limited = row.groups()
            found.append((method, pattern, dict(zip((*ROLES, "nobody"), answers, strict=True)), limited))
    return found


def path_of(pattern: str, which: int) -> str:
    for name, choices in OF_A_SITE.items():
        pattern = pattern.replace(name, choices[which])
    for name, value in OTHERS.items():
        pattern = pattern.replace(name, value)
    return pattern


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with guarded(tmp_path, gateway_requests_per_s=0, gateway_writes_per_s=0) as made:
        yield made


def test_the_page_has_every_entry_of_the_table() -> None:
    assert {f"{method} {pattern}" for method, pattern, _, _ in rows()} == set(ACCESS)


def test_every_route_of_the_application_has_an_entry_and_no_entry_is_of_nothing() -> None:
    application = Gateway(Settings(), cast(aiohttp.ClientSession, None)).app()
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes == set(ACCESS)


async def status_of(place: Guarded, method: str, pattern: str, token: str | None, which: int = 0) -> int:
    body = {"nothing": 1} if method == "POST" else None  # refused by every handler that lets it come so far
    return (await place.ask(method, path_of(pattern, which), token, body))[0]


async def test_each_route_answers_each_role_as_the_table_says(place: Guarded) -> None:
    tokens = {"nobody": None, **{role: place.token(role) for role in ROLES}}

    async def differs(method: str, pattern: str, who: str, said: str) -> str:
        status = await status_of(place, method, pattern, tokens[who])
        well = status not in {401, 403} if said == "yes" else status == int(said)
        return "" if well else f"{method} {pattern} by {who}: {status}, expected {said}"

    asked = [differs(method, pattern, who, said) for method, pattern, answers, _ in rows() for who, said in answers.items()]
    assert len(asked) == 4 * len(ACCESS)
    assert [each for each in await asyncio.gather(*asked) if each] == []


async def test_each_route_gives_a_token_of_one_site_what_the_table_says(place: Guarded) -> None:
    tokens = {role: place.token(role, [OWN]) for role in ROLES}

    async def differs(method: str, pattern: str, role: str, limited: str) -> str:
        own, other, none = await asyncio.gather(*(status_of(place, method, pattern, tokens[role], which) for which in range(3)))
        if "403" in limited:
            well = (own, other, none) == (403, 403, 403)
        elif any(name in pattern for name in OF_A_SITE):
            # A body that cannot be used is told to all alike, before anything is looked up.
            well = other == none == (400 if pattern.endswith("/ack") else 404) and own not in {401, 403}
        else:
            well = own not in {401, 403}
        return "" if well else f"{method} {pattern} by {role}: own {own}, other {other}, none {none}; expected {limited}"

    asked = [
        differs(method, pattern, role, limited)
        for method, pattern, answers, limited in rows()
        for role in ROLES
        if answers[role] == "yes" and answers["nobody"] != "yes"
    ]
    assert [each for each in await asyncio.gather(*asked) if each] == []
