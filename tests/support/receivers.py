"""Receivers of notifications, for tests: a real HTTP server and a real SMTP server, each of which can be told to fail, to hang, or to be gone."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as default_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from ems_streams.dev.ports import Ports

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZyE="
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What came to the HTTP server, when, and how it was answered; status 0 is no answer."""

    at_s: float
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["ems-attempt"])

    @property
    def notification_ids(self) -> list[str]:
        sent = json.loads(self.body)
        told = sent["data"]["notifications"] if sent["type"].endswith("digest") else [sent["data"]]
        return [each["notificationId"] for each in told]


Answer = Callable[[int, bytes], tuple[int, dict[str, str]]]
"""Number of the request, from 0, and its body, to status and headers; status 0 hangs until the server ends."""


def always(status: int, **headers: str) -> Answer:
    return lambda _number, _body: (status, headers)


@dataclass
class Webhook:
    """A real HTTP server; `answer` may be changed at any time."""

    answer: Answer = field(default_factory=lambda: always(204))
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0
    _connections: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/hook"

    def start(self) -> None:
        """Listen; again on the same port after `stop`."""
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                webhook._connections.add(self.connection)

            def finish(self) -> None:
                webhook._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook._handle(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        self._ending.clear()
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer((LOOPBACK, self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Be gone: new connections are refused, and those that clients have kept end."""
        self._ending.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            status, headers = self.answer(self._count, body)
            self._count += 1
            self.requests.append(Request(time.time(), {name.lower(): value for name, value in handler.headers.items()}, body, status))
        if status == 0:
            self._ending.wait(300)
            handler.close_connection = True
            return
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    @property
    def delivered(self) -> list[str]:
        """Ids of notifications that were taken, in order."""
        return [each for request in list(self.requests) if 200 <= request.status < 300 for each in request.notification_ids]

    def attempts(self) -> dict[str, list[int]]:
        """Of each notification the numbers of its attempts, in the order in which they came."""
        found: dict[str, list[int]] = {}
        for request in list(self.requests):
            for each in request.notification_ids:
                found.setdefault(each, []).append(request.attempt)
        return found


@contextmanager
def webhook(answer: Answer | None = None) -> Iterator[Webhook]:
    running = Webhook() if answer is None else Webhook(answer)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@dataclass
class Mailbox:
    """A real SMTP server, and what it has taken. `refuse` gives the reply to a message, or None to take it."""

    mails: list[EmailMessage] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    refuse: Callable[[EmailMessage], str | None] = lambda _mail: None
    refuse_recipient: Callable[[str], str | None] = lambda _address: None
    hangs_at_quit: bool = False
    port: int = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if (reply := self.refuse_recipient(address)) is not None:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        mail = BytesParser(policy=default_policy).parsebytes(bytes(envelope.content or b""))
        assert isinstance(mail, EmailMessage)
        if (reply := self.refuse(mail)) is not None:
            return reply
        self.mails.append(mail)
        self.at_s.append(time.time())
        self.tls.append(session.ssl is not None)
        return "250 taken"

    async def handle_QUIT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        if self.hangs_at_quit:
            await asyncio.sleep(3600)
        return "221 Bye"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> Any:
        self.logins.append((data.login, data.password))
        # Not handled: aiosmtpd itself is to say so.
        return AuthResult(success=data.password == b"right", handled=False)


@contextmanager
def mailbox(**options: Any) -> Iterator[Mailbox]:
    """Options are those of aiosmtpd's `SMTP`."""
    box = Mailbox()
    if options.get("auth_required"):
        options["authenticator"] = box.authenticate
    # aiosmtpd calls itself once at its start, so that it must know its port beforehand.
    box.port = Ports.free().notifier
    controller = Controller(box, hostname=LOOPBACK, port=box.port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
