"""Asking the gateway: JSON in and out, with its problem documents as errors that fit a command line."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ems_streams.errors import DependencyError, EmsError, UsageError

if TYPE_CHECKING:
    import ssl

    from ems_streams.settings import Settings

TIMEOUT_S = 15.0


def gateway_url(settings: "Settings") -> str:
    """Where the gateway of these settings is: what is set, or how it is reached from its own machine."""
    if settings.gateway_url is not None:
        return str(settings.gateway_url).rstrip("/")
    from ems_streams.setting_types import reached_at

    scheme = "http" if settings.gateway_cert_file is None else "https"
    return f"{scheme}://{reached_at(settings.gateway_host)}:{settings.gateway_port}"


class GatewayClient:
    """A client of one gateway.

    Args:
        url: Address, such as `http://127.0.0.1:8080`.
        token: Shown with every request.
        tls: Whom an address of `https` is believed to be; by default whoever the system's authorities say.
    """

    def __init__(self, url: str, token: str | None = None, tls: "ssl.SSLContext | None" = None) -> None:
        self.url = url.rstrip("/")
        self._tls = tls
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    @classmethod
    def of(cls, settings: "Settings", url: str | None = None) -> Self:
        """The client of these settings; raises `SettingError` for authorities that cannot be read.

        Args:
            url: Another address than that of the settings.
        """
        where = url or gateway_url(settings)
        tls = None
        if where.startswith("https://") and settings.gateway_ca_file is not None:
            from ems_streams.pem_files import trusting

            tls = trusting("EMS_GATEWAY_CA_FILE", settings.gateway_ca_file)
        return cls(where, None if settings.gateway_token is None else settings.gateway_token.get_secret_value(), tls)

    async def __aenter__(self) -> Self:
        import aiohttp

        connector = aiohttp.TCPConnector(ssl=True if self._tls is None else self._tls)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        """The answer's JSON.

        Raises `DependencyError` when nobody answers, or answers 5xx, and when its certificate is not believed; `UsageError` for 400 and 422, which
        name the field; `EmsError` for the rest, with what to do about 401 and 403.
        """
        import aiohttp
        import orjson

        try:
            sending = self._session.request(method, self.url + path, json=body, headers=headers, allow_redirects=False)
            async with sending as response:
                content = await response.read()
        except aiohttp.ClientConnectorCertificateError as error:
            raise DependencyError(
                f"the certificate of {self.url} is not believed: {error.certificate_error}; EMS_GATEWAY_CA_FILE names the authorities that are"
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise DependencyError(f"the gateway at {self.url} cannot be reached: {str(error) or type(error).__name__}") from None
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise DependencyError(f"{self.url}{path} answers {response.status} and no JSON; is it the gateway?") from None
        if response.status < 400:
            return answer
        said = answer.get("detail") or answer.get("title") or f"status {response.status}"
        if response.status >= 500:
            raise DependencyError(f"the gateway at {self.url} answers {response.status}: {said}")
        if response.status in {400, 422}:
            raise UsageError(said)
        raise EmsError(said + self._advice(response.status))

    def _advice(self, status: int) -> str:
        if status == 401:
            return " Set EMS_GATEWAY_TOKEN or EMS_GATEWAY_TOKEN_FILE." if not self._headers else " The token is that of EMS_GATEWAY_TOKEN."
        return " The token is that of EMS_GATEWAY_TOKEN." if status == 403 else ""
