"""Asking the gateway: JSON in and out, with its problem documents as errors that fit a command line."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ems_streams.errors import DependencyError, EmsError, UsageError

if TYPE_CHECKING:
    from ems_streams.settings import Settings

TIMEOUT_S = 15.0
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - an address to compare with, nothing is bound


def gateway_url(settings: "Settings") -> str:
    """Where the gateway of these settings is reached from its own machine."""
    host = "127.0.0.1" if settings.gateway_host in _EVERYWHERE else settings.gateway_host
    return f"http://{host}:{settings.gateway_port}"


class GatewayClient:
    """A client of one gateway.

    Args:
        url: Address, such as `http://127.0.0.1:8080`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def __aenter__(self) -> Self:
        import aiohttp

        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        """The answer's JSON.

        Raises `DependencyError` when nobody answers, or answers 5xx; `UsageError` for 400 and 422, which name the field; `EmsError` for the rest.
        """
        import aiohttp
        import orjson

        try:
            async with self._session.request(method, self.url + path, json=body, headers=headers) as response:
                content = await response.read()
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
        raise EmsError(said)
