"""Channels as data: where notifications are sent, which ones, and how patiently. No secret is in here, only the names of variables that hold one."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import AnyUrl, BaseModel, ConfigDict, Field, StringConstraints, UrlConstraints, field_validator, model_validator

from ems_streams.domain.events import Notification, NotificationKind, Severity

SEVERITY_ORDER: Final = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)

_NAME: Final = r"^[a-z][a-z0-9-]{0,31}$"
_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_MAILBOX: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}"
_ADDRESS: Final = f"^{_MAILBOX}$"
_SENDER: Final = rf"^({_MAILBOX}|[^<>,;:@\r\n\"]{{1,100}} <{_MAILBOX}>)$"
_HOST: Final = r"^[A-Za-z0-9_.:-]{1,253}$"
IN_WORDS: Final = {
    _NAME: "small letters, digits and hyphens, at most 32, beginning with a letter",
    _VARIABLE: "the name of an environment variable",
    _ADDRESS: "an address such as ops@example.com",
    _SENDER: "an address such as ems@example.com, or EMS <ems@example.com>",
    _HOST: "the name or address of a server",
}
"""What the patterns mean, for messages."""

ChannelName = Annotated[str, StringConstraints(pattern=_NAME)]
VariableName = Annotated[str, StringConstraints(pattern=_VARIABLE)]
MailAddress = Annotated[str, StringConstraints(pattern=_ADDRESS)]
MailSender = Annotated[str, StringConstraints(pattern=_SENDER)]
HostName = Annotated[str, StringConstraints(pattern=_HOST)]
WebhookUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
SiteId = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]


class _Part(BaseModel):
    """A part of the file: unknown members are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Retry(_Part):
    """How often a message is tried, and how long is waited in between: doubling, with jitter, or what `Retry-After` says.

    Attributes:
        attempts: With the first one. Twenty-four take two to four hours, so that a receiver may be away for as long, however few messages there are.
        initial_s: Wait after the first failure, at the most.
        max_s: Longest wait; also of what a receiver asks for.
    """

    attempts: Annotated[int, Field(strict=True, ge=1, le=100)] = 24
    initial_s: Seconds = 2.0
    max_s: Seconds = 900.0


class Breaker(_Part):
    """When a channel is left alone: after so many failures in a row, for a time that doubles while trials fail."""

    failures: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    open_s: Seconds = 5.0
    open_max_s: Seconds = 300.0


class Rate(_Part):
    """So many messages in so many seconds; what is more is put together into one."""

    messages: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    per_s: Seconds


class Digest(_Part):
    """Collect for so long, then send one message with the list."""

    every_s: Seconds


class Start(StrEnum):
    """Where a channel that was never there before begins: with what comes from now on, or with all that Kafka still has."""

    NOW = "now"
    BEGINNING = "beginning"


class ChannelBase(_Part):
    """What all channels have.

    Attributes:
        timeout_s: Deadline of one attempt as a whole.
        concurrency: Messages under way at the same time; those of one device never are.
    """

    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    concurrency: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    rate: Rate | None = None
    digest: Digest | None = None
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
    start: Start = Start.NOW
    ca_file: Annotated[str, Field(min_length=1)] | None = None


class WebhookChannel(ChannelBase):
    """Notifications as signed JSON by POST.

    Attributes:
        secret_env: Variable with the secret that messages are signed with; several secrets, separated by spaces, while one is changed for another.
    """

    type: Literal["webhook"]
    url: WebhookUrl
    secret_env: VariableName

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: AnyUrl) -> AnyUrl:
        if url.username or url.password:
            raise ValueError("must be a URL without user and password: a file of channels holds no secrets")
        return url


class MailSecurity(StrEnum):
    """How the connection to the SMTP server is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


MAIL_PORTS: Final = {MailSecurity.TLS: 465, MailSecurity.STARTTLS: 587, MailSecurity.NONE: 25}


class EmailChannel(ChannelBase):
    """Notifications by e-mail, as text and HTML.

    Attributes:
        port: Default by `security`: 465, 587 or 25.
        security: `starttls` does not go on without it.
        password_env: Variable with the password of `username`.
    """

    type: Literal["email"]
    host: HostName
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    security: MailSecurity = MailSecurity.STARTTLS
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    password_env: VariableName | None = None
    sender: Annotated[MailSender, Field(alias="from")]
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1, max_length=50)]
    concurrency: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    rate: Rate | None = Rate(messages=20, per_s=600.0)

    @model_validator(mode="after")
    def _check_login(self) -> "EmailChannel":
        if (self.username is None) != (self.password_env is None):
            raise ValueError("must have both username and password_env, or neither")
        if self.username is not None and self.security is MailSecurity.NONE:
            raise ValueError("must have security tls or starttls with a username: a password is not sent in the clear")
        return self

    @property
    def smtp_port(self) -> int:
        """Port of the SMTP server."""
        return self.port if self.port is not None else MAIL_PORTS[self.security]


Channel = Annotated[WebhookChannel | EmailChannel, Field(discriminator="type")]


class Route(_Part):
    """Which notifications go to which channels: those that match all that is given; what is left out matches everything."""

    channels: Annotated[tuple[ChannelName, ...], Field(min_length=1)]
    severity_at_least: Severity = Severity.INFO
    sites: Annotated[tuple[SiteId, ...], Field(min_length=1)] | None = None
    kinds: Annotated[tuple[NotificationKind, ...], Field(min_length=1)] | None = None

    def matches(self, notification: Notification) -> bool:
        """Whether a notification takes this route."""
        return (
            SEVERITY_ORDER.index(notification.severity) >= SEVERITY_ORDER.index(self.severity_at_least)
            and (self.sites is None or notification.site_id in self.sites)
            and (self.kinds is None or notification.kind in self.kinds)
        )


class ChannelsConfig(_Part):
    """A whole file."""

    channels: Annotated[dict[ChannelName, Channel], Field(min_length=1)]
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_names(self) -> "ChannelsConfig":
        used = {name for route in self.routes for name in route.channels}
        if unknown := sorted(used - self.channels.keys()):
            raise ValueError(f"routes name {unknown[0]!r}: must be one of the channels: {', '.join(sorted(self.channels))}")
        if unused := sorted(self.channels.keys() - used):
            raise ValueError(f"channel {unused[0]!r} is in no route: must be named by at least one, or be taken out")
        return self

    def wanted_by(self, name: str, notification: Notification) -> bool:
        """Whether any route takes a notification to a channel."""
        return any(name in route.channels and route.matches(notification) for route in self.routes)
