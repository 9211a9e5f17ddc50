"""How commands ask the gateway: where, with which token, believing whom; and what they say when that does not work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from pydantic import AnyUrl, SecretStr

from ems_streams.access.tls import server_tls
from ems_streams.cli.gateway_client import GatewayClient, gateway_url
from ems_streams.errors import DependencyError, EmsError, SettingError
from ems_streams.ops.http import bound_port, problem, start_site
from ems_streams.settings import Settings

CA = trustme.CA()


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A server that says who asks, over HTTPS."""

    async def answer(request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization")
        match shown:
            case None:
                return problem(401, "Not logged in", "A token is needed.")
            case "Bearer viewer":
                return problem(403, "Not allowed", "This needs the role operator.")
        return web.json_response({"shown": shown})

    issued = CA.issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    application = web.Application()
    application.add_routes([web.get("/", answer)])
    runner = await start_site(application, "127.0.0.1", 0, "PORT", tls=server_tls(cert, key))
    yield f"https://localhost:{bound_port(runner)}"
    await runner.cleanup()


def settings(url: str, ca: Path | None, token: str | None) -> Settings:
    return Settings(gateway_url=AnyUrl(url), gateway_ca_file=ca, gateway_token=None if token is None else SecretStr(token))


async def ask(given: Settings) -> object:
    async with GatewayClient.of(given) as client:
        return await client.ask("GET", "/")


async def test_a_token_is_shown_to_whom_the_authorities_vouch_for(url: str, tmp_path: Path) -> None:
    assert await ask(settings(url, tmp_path / "ca.pem", "secret")) == {"shown": "Bearer secret"}


async def test_a_certificate_that_nobody_vouches_for_is_told_with_what_to_set(url: str) -> None:
    with pytest.raises(DependencyError, match=r"the certificate of https://localhost:\d+ is not believed: .*; EMS_GATEWAY_CA_FILE names"):
        await ask(settings(url, None, "secret"))


async def test_a_certificate_of_another_name_is_not_believed(url: str, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=r"is not believed: .*127\.0\.0\.1"):
        await ask(settings(url.replace("localhost", "127.0.0.1"), tmp_path / "ca.pem", "secret"))


async def test_what_is_denied_is_told_with_what_to_do(url: str, tmp_path: Path) -> None:
    with pytest.raises(EmsError, match=r"A token is needed\. Set EMS_GATEWAY_TOKEN or EMS_GATEWAY_TOKEN_FILE\.") as raised:
        await ask(settings(url, tmp_path / "ca.pem", None))
    assert raised.value.exit_code == 1
    with pytest.raises(EmsError, match=r"This needs the role operator\. The token is that of EMS_GATEWAY_TOKEN\."):
        await ask(settings(url, tmp_path / "ca.pem", "viewer"))


async def test_authorities_that_cannot_be_read_are_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"EMS_GATEWAY_CA_FILE=.*must be a readable file"):
        await ask(settings(url, tmp_path / "none.pem", None))


def test_where_the_gateway_is_comes_from_the_settings(tmp_path: Path) -> None:
    assert gateway_url(Settings(gateway_port=1234)) == "http://127.0.0.1:1234"
    assert (
        gateway_url(Settings(gateway_port=1234, gateway_cert_file=tmp_path / "c", gateway_key_file=tmp_path / "k"))
        == "https://127.0.0.1:1234"
    )
    assert gateway_url(Settings(gateway_url=AnyUrl("https://gateway.example/"))) == "https://gateway.example"
