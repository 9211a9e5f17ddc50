"""Webhooks and e-mails as they are made of notifications."""

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as default_policy
from pathlib import Path

import orjson
import pytest

from ems_streams.domain.deliveries import Chain, Message, Source, message_id_of
from ems_streams.domain.events import Notification
from ems_streams.domain.mail_message import SUBJECT_MAX_CHARS, mail_of
from ems_streams.domain.webhook_message import body_of, headers_of, secret_key, secret_keys, signature
from tests.support.sink import notification_of

KEY = b"k" * 32


def message(*changes: dict[str, object], attempts: int = 1) -> Message:
    chains = []
    for number, each in enumerate(changes or ({},)):
        notification = Notification.model_validate(notification_of("INV-001", number) | each)
        chains.append(Chain(notification, notification.encode(), Source(0, number, 0, b"INV-001"), number, attempts))
    return Message(message_id_of(chains), tuple(chains))


def mail(*changes: dict[str, object]) -> EmailMessage:
    """As it arrives."""
    sent = mail_of(message(*changes), "on-call", "EMS <ems@example.com>", ["a@example.com", "b@example.com"])
    arrived = BytesParser(policy=default_policy).parsebytes(sent.as_bytes())
    assert isinstance(arrived, EmailMessage)
    return arrived


def test_the_signature_is_that_of_the_scheme() -> None:
    """The scheme's own published example."""
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_body_is_the_same_at_every_attempt_and_the_time_is_not() -> None:
    first, second = message(attempts=1), message(attempts=2)
    headers = [headers_of(each, body_of(each), [KEY], 1_759_579_200 + each.attempt) for each in (first, second)]

    assert body_of(first) == body_of(second)
    assert [each["webhook-id"] for each in headers] == [each["Idempotency-Key"] for each in headers] == ["INV-001-0"] * 2
    assert [each["ems-attempt"] for each in headers] == ["1", "2"]
    assert headers[0]["webhook-signature"] != headers[1]["webhook-signature"]


def test_a_webhook_has_the_whole_notification_or_the_list_of_them() -> None:
    single = orjson.loads(body_of(message()))
    several = orjson.loads(body_of(message({}, {}, {})))

    assert single["type"] == "notification"
    assert single["data"] == notification_of("INV-001", 0)
    assert several["type"] == "notification.digest"
    assert several["data"]["count"] == 3
    assert [each["notificationId"] for each in several["data"]["notifications"]] == ["INV-001-0", "INV-001-1", "INV-001-2"]
    assert several["timestamp"] == several["data"]["notifications"][2]["timestamp"]


def test_while_a_secret_is_changed_there_is_a_signature_for_each() -> None:
    old, new = "whsec_" + "b" * 44, "whsec_" + "c" * 44
    keys = secret_keys(f"{old} {new}")
    sent = message()
    headers = headers_of(sent, body_of(sent), keys, 1)

    assert headers["webhook-signature"].split() == [signature(key, "INV-001-0", 1, body_of(sent)) for key in keys]


@pytest.mark.parametrize("secret", ["", " ", "whsec_", "plain text", "whsec_" + "a" * 20, "whsec_" + "a" * 100, "whsec_%%%"])
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        secret_keys(secret)
    given = secret.strip().removeprefix("whsec_")
    assert not given or given not in str(caught.value)


def test_what_receivers_verify_by_the_snippet_of_the_documentation_is_what_we_sign() -> None:
    text = (Path(__file__).parents[3] / "docs" / "howto" / "channels.md").read_text()
    snippet = text[text.index("```python\n") + len("```python\n") :].partition("```")[0]
    space: dict[str, object] = {}
    exec(snippet, space)
    verify = space["verify"]
    sent = message()
    body = body_of(sent)
    headers = headers_of(sent, body, [secret_key("whsec_" + "c" * 44)], 1_000)

    assert verify("whsec_" + "c" * 44, headers, body, now_s=1_100)  # type: ignore[operator]
    assert not verify("whsec_" + "d" * 44, headers, body, now_s=1_100)  # type: ignore[operator]
    assert not verify("whsec_" + "c" * 44, headers, body + b" ", now_s=1_100)  # type: ignore[operator]
    assert not verify("whsec_" + "c" * 44, headers, body, now_s=2_000)  # type: ignore[operator]


def test_texts_of_devices_make_no_headers_and_no_html() -> None:
    sent = mail({"title": "x\r\nBcc: evil@example.com\r\n\r\nhello", "message": "<script>alert(1)</script>\x00", "serialNumber": "A\nB"})

    assert sent["Bcc"] is None
    assert "\n" not in str(sent["Subject"])
    assert "<script>" not in sent.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert "\x00" not in sent.get_body(("plain",)).get_content()  # type: ignore[union-attr]


@pytest.mark.parametrize("title", ["", "ü" * 500, "🔥 inverter", "a" * 5000, "\u2028", "=?utf-8?q?x?="])
def test_any_title_makes_a_mail(title: str) -> None:
    sent = mail({"title": title, "message": title})

    assert str(sent["Subject"]).startswith("[WARNING] site 7 INV-001:")
    assert len(str(sent["Subject"])) <= SUBJECT_MAX_CHARS
    if title in {"ü" * 500, "🔥 inverter"}:
        assert title in sent.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_a_sender_may_have_a_name_in_any_script() -> None:
    sent = mail_of(message(), "on-call", "Störung – 警报 <ems@example.com>", ["a@example.com"])
    arrived = BytesParser(policy=default_policy).parsebytes(sent.as_bytes())

    assert str(arrived["From"]) == "Störung – 警报 <ems@example.com>"
    assert str(arrived["Message-ID"]).endswith("@example.com>")


def test_a_mail_has_an_id_of_its_notification_and_says_that_a_machine_has_written_it() -> None:
    sent = mail({"notificationId": "ab>c\r\n<d"})

    assert sent["Message-ID"] == "<ab-c-d.on-call@example.com>"
    assert sent["Auto-Submitted"] == "auto-generated"
    assert sent["To"] == "a@example.com, b@example.com"


def test_the_subject_of_a_digest_says_how_many_and_how_severe_the_worst_is() -> None:
    sites = [{"siteId": site} for site in (9, 7, 8, 1, 2, 3)]
    assert mail({}, {"severity": "CRITICAL"}, {"severity": "INFO"})["Subject"] == "[CRITICAL] 3 notifications of site 7"
    assert mail(*sites)["Subject"] == "[WARNING] 6 notifications of sites 1, 2, 3, 7, 8, ..."
