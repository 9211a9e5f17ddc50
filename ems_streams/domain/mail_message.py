"""A message as an e-mail: subject, text and HTML, under a Message-ID that is the same at every attempt."""

import re
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import parseaddr
from html import escape
from typing import Final

from ems_streams.domain.channel_config import SEVERITY_ORDER
from ems_streams.domain.deliveries import Message
from ems_streams.domain.events import Notification, Severity, format_time

SUBJECT_MAX_CHARS: Final = 180
_COLOURS: Final = {Severity.INFO: "#1f6feb", Severity.WARNING: "#9a6700", Severity.CRITICAL: "#cf222e"}
# What would end a header line, and whatever else no person can see.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]+")
_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9.-]+")


def mail_of(message: Message, channel: str, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """The e-mail of a message; whatever texts devices have brought in cannot make headers or HTML of their own."""
    mail = EmailMessage()
    notifications = message.notifications
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = subject_of(notifications)
    mail["Message-ID"] = message_id_of(message, channel, sender)
    mail["Date"] = max(notification.timestamp for notification in notifications)
    # Nobody is to answer with a note of absence.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-EMS-Notification-Id"] = _NOT_IN_AN_ID.sub("-", message.message_id)
    mail.set_content(_text(notifications))
    mail.add_alternative(_html(notifications), subtype="html")
    return mail


def message_id_of(message: Message, channel: str, sender: str) -> str:
    """`<id.channel@domain>`: mail systems recognise what is sent again by it."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    return f"<{_NOT_IN_AN_ID.sub('-', message.message_id)}.{channel}@{domain}>"


def subject_of(notifications: Sequence[Notification]) -> str:
    """`[CRITICAL] site 7 INV-001: ...`, or how many there are and how severe the worst is."""
    if len(notifications) == 1:
        told = notifications[0]
        subject = f"[{told.severity}] site {told.site_id} {told.serial_number}: {told.title}"
    else:
        worst = max((told.severity for told in notifications), key=SEVERITY_ORDER.index)
        sites = sorted({told.site_id for told in notifications})
        shown = ", ".join(map(str, sites[:5])) + (", ..." if len(sites) > 5 else "")
        subject = f"[{worst}] {len(notifications)} notifications of {'site' if len(sites) == 1 else 'sites'} {shown}"
    line = _one_line(subject)
    return line if len(line) <= SUBJECT_MAX_CHARS else line[: SUBJECT_MAX_CHARS - 3] + "..."


def _text(notifications: Sequence[Notification]) -> str:
    return "\n\n".join(
        f"[{told.severity}] {format_time(told.timestamp)}\n{_one_line(told.title)}\n{_one_line(told.message)}\n"
        f"site {told.site_id}, device {_one_line(told.serial_number)}, {told.kind}, id {_one_line(told.notification_id)}"
        for told in notifications
    )


def _html(notifications: Sequence[Notification]) -> str:
    rows = "".join(
        f'<tr><td style="color:{_COLOURS[told.severity]};font-weight:bold">{told.severity}</td><td>{format_time(told.timestamp)}</td>'
        f"<td>{told.site_id}</td><td>{escape(_one_line(told.serial_number))}</td>"
        f"<td><b>{escape(_one_line(told.title))}</b><br>{escape(_one_line(told.message))}</td></tr>"
        for told in notifications
    )
    head = "".join(f'<th align="left">{name}</th>' for name in ("Severity", "Time", "Site", "Device", "What"))
    return (
        '<!DOCTYPE html><html><body style="font-family:sans-serif"><table cellpadding="6" style="border-collapse:collapse">'
        f"<tr>{head}</tr>{rows}</table></body></html>"
    )


def _one_line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()
