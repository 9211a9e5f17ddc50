"""What every process' HTTP side shares: health routes, errors as problem documents, listening on a port."""

import errno
import logging
import ssl
import uuid
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ems_streams import __version__
from ems_streams.errors import EmsError, SettingError
from ems_streams.ops.health import Health, Report
from ems_streams.ops.http_server import ProblemRunner
from ems_streams.ops.problems import ProblemError, problem, problem_of, problem_of_http

__all__ = [
    "VERSION_HEADER",
    "Handler",
    "ProblemError",
    "bound_port",
    "error_middleware",
    "health_routes",
    "json_response",
    "problem",
    "start_site",
]

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VERSION_HEADER = "EMS-Version"
"""On answers of the health endpoints: the release that runs."""
_NO_STORE = {"Cache-Control": "no-store"}


class _NoHttp(logging.Filter):
    """Keeps out of the log that somebody has sent what is no HTTP: it is answered with 400, and with a traceback each anybody could fill a disk."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_NO_HTTP = _NoHttp()


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer that no cache keeps: all of it is live."""
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={**_NO_STORE, **(headers or {})},
    )


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Makes every error a problem document; a surprise is logged with an id, and only the id goes to the client."""
    try:
        return await handler(request)
    except ProblemError as error:
        return _answer(request, error)
    except EmsError as error:
        return _answer(request, problem_of(error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem_of_http(request, error)
    except Exception:
        error_id = uuid.uuid4().hex
        log.exception("request failed", error_id=error_id, method=request.method, path=request.path)
        detail = f"The request failed inside the server; the log has more under the id {error_id}."
        return problem(500, "Internal Server Error", detail, instance=request.path, errorId=error_id)


def _answer(request: web.Request, error: ProblemError) -> web.Response:
    return problem(error.status, error.title, error.detail, instance=request.path, headers=error.headers, **error.extensions)


def health_routes(health: Health) -> list[web.RouteDef]:
    """Routes `/livez`, `/readyz` and `/startupz`: 200 or 503 with the state of each check, and the release in a header."""

    def route(path: str, report: Callable[[], Report]) -> web.RouteDef:
        async def handle(_: web.Request) -> web.Response:
            status, body = report()
            return json_response(body, status, {VERSION_HEADER: __version__})

        return web.get(path, handle)

    return [route("/livez", health.livez), route("/readyz", health.readyz), route("/startupz", health.startupz)]


async def start_site(
    app: web.Application, host: str, port: int, setting_name: str, *, shutdown_timeout_s: float = 5.0, tls: ssl.SSLContext | None = None
) -> web.AppRunner:
    """Serves `app` until `cleanup()` of the returned runner.

    Args:
        setting_name: The setting that holds the port, for the error.
        tls: What makes it HTTPS.

    Raises:
        SettingError: The port is taken, or cannot be listened on; names port and setting.
    """
    logging.getLogger("aiohttp.server").addFilter(_NO_HTTP)
    runner = ProblemRunner(app, access_log=None, handle_signals=False, shutdown_timeout=shutdown_timeout_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingError(setting_name, port, _cannot_listen(host, port, error)) from None
    return runner


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another process; stop that one or choose another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights than this process has; choose a port above 1023"
    return f"cannot listen on {host}:{port} ({error.strerror or error})"


def bound_port(runner: web.AppRunner) -> int:
    """The port a site really listens on (of use with port 0)."""
    return int(runner.addresses[0][1])
