"""E-mail by the notifier to a real SMTP server; rates and digests; what the commands say."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.notifier import assert_one_chain_each, channels_file, hook, journal, mail, notify, put_aside, secrets
from tests.support.processes import Deployment, eventually
from tests.support.receivers import always, mailbox, webhook

pytestmark = pytest.mark.integration


def names(count: int) -> list[str]:
    return [f"n-{number}" for number in range(count)]


def test_mails_say_in_the_subject_how_severe_where_and_what_in_text_and_html(deployment: Deployment, tmp_path: Path) -> None:
    with mailbox() as box:
        file = channels_file(tmp_path, {"on-call": mail(box.port, to=["a@example.com", "b@example.com"])})
        deployment.notifier(file)
        notify(deployment, ["n-0"], severity="CRITICAL", title="fan <b>broken</b>\r\nBcc: x@example.com", message="hot & loud")
        eventually(lambda: box.mails, 30, "a mail")

    (sent,) = box.mails
    assert sent["Subject"] == "[CRITICAL] site 7 NTF-0: fan <b>broken</b> Bcc: x@example.com"
    assert (sent["From"], sent["To"], sent["Bcc"]) == ("EMS <ems@example.com>", "a@example.com, b@example.com", None)
    assert sent["Message-ID"] == "<n-0.on-call@example.com>"
    text, html = (sent.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert "hot & loud" in text
    assert "hot &amp; loud" in html
    assert "<b>broken</b>" not in html


def test_a_mail_that_is_put_off_is_sent_again_under_the_same_id_and_one_that_is_refused_is_put_aside(
    deployment: Deployment, tmp_path: Path
) -> None:
    tries: list[str] = []

    def refuse(sent: object) -> str | None:
        subject = str(sent["Subject"])  # type: ignore[index]
        tries.append(subject.rpartition(" ")[2])
        return "554 unwanted" if subject.endswith("n-1") else "451 later" if tries.count("n-0") < 3 and subject.endswith("n-0") else None

    with mailbox() as box:
        box.refuse = refuse
        deployment.notifier(channels_file(tmp_path, {"on-call": mail(box.port)}))
        published = notify(deployment, names(3))
        eventually(lambda: len(box.mails) == 2 and put_aside(deployment), 30, "two mails and a dead letter")

    assert sorted(str(each["Message-ID"]) for each in box.mails) == ["<n-0.on-call@example.com>", "<n-2.on-call@example.com>"]
    assert (tries.count("n-0"), tries.count("n-1")) == (3, 1)
    ((_, value, headers),) = put_aside(deployment)
    assert value == published["n-1"]
    assert (headers["dlt-error-class"], headers["dlt-error-message"], headers["dlt-attempts"]) == ("smtp_554", "554 unwanted", "1")
    assert_one_chain_each(deployment, "on-call", names(3))


def test_starttls_and_login_with_a_certificate_of_our_own(deployment: Deployment, tmp_path: Path) -> None:
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with mailbox(tls_context=context, require_starttls=True, auth_required=True) as box:
        login = {"security": "starttls", "username": "ems", "password_env": "TEST_PASSWORD"}
        trusted = channels_file(tmp_path, {"on-call": mail(box.port, **login, ca_file=str(certificate))})
        deployment.notifier(trusted, TEST_PASSWORD="right")
        notify(deployment, ["n-0"])
        eventually(lambda: box.mails, 30, "a mail")
        assert box.tls == [True]
        assert box.logins == [(b"ems", b"right")]
        untrusted = channels_file(tmp_path, {"on-call": mail(box.port, **login)})
        refused = _channels(deployment, untrusted, "test", "on-call", TEST_PASSWORD="right")
        wrong = _channels(deployment, channels_file(tmp_path, {"on-call": mail(box.port, **login, ca_file=str(certificate))}), "test", "on-call",
                          TEST_PASSWORD="wrong")  # fmt: skip
    assert refused.returncode == 3
    assert "certificate" in refused.stderr.lower()
    assert wrong.returncode == 1
    assert "535" in wrong.stderr
    assert len(box.mails) == 1


def test_what_is_more_than_the_rate_goes_together_into_one_message(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as receiver:
        config = hook(receiver.url, rate={"messages": 3, "per_s": 3.0})
        deployment.notifier(channels_file(tmp_path, {"ops": config}), **secrets())
        notify(deployment, names(150), devices=10)
        eventually(lambda: len(receiver.delivered) >= 150, 30, "150 delivered")

    assert sorted(receiver.delivered) == sorted(names(150))
    digests = [request for request in receiver.requests if len(request.notification_ids) > 1]
    assert len(receiver.requests) <= 5
    assert max(len(request.notification_ids) for request in digests) == 100
    body = json.loads(digests[0].body)
    assert body["type"] == "notification.digest"
    assert body["data"]["count"] == len(body["data"]["notifications"])
    assert_one_chain_each(deployment, "ops", names(150))


def test_a_digest_is_one_message_a_while_and_stays_the_same_while_it_is_tried_again(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(lambda number, _: (503 if number < 2 else 204, {})) as receiver, mailbox() as box:
        channels = {"ops": hook(receiver.url, digest={"every_s": 2.0}), "daily": mail(box.port, digest={"every_s": 2.0})}
        notifier = deployment.notifier(channels_file(tmp_path, channels), **secrets()).wait_until_ready()
        notify(deployment, names(10)[:6], severity="WARNING")
        eventually(lambda: receiver.requests, 20, "a first attempt")
        notify(deployment, names(10)[6:])
        eventually(lambda: len(receiver.delivered) >= 10 and len(box.mails) >= 2, 30, "all in digests")
        notifier.terminate()

    tried = [(request.message_id, request.body) for request in receiver.requests]
    assert tried[0] == tried[1] == tried[2]
    assert sorted(receiver.requests[2].notification_ids) == names(10)[:6]
    assert tried[0][0].startswith("digest-")
    assert sorted(receiver.delivered) == names(10)
    assert str(box.mails[0]["Subject"]) == "[WARNING] 6 notifications of site 7"


def test_routes_decide_by_severity_site_and_kind(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as critical, webhook() as site, webhook() as kind:
        channels = {"critical": hook(critical.url), "site": hook(site.url), "kind": hook(kind.url)}
        routes = [
            {"channels": ["critical"], "severity_at_least": "CRITICAL"},
            {"channels": ["site"], "sites": [8, 9]},
            {"channels": ["kind", "site"], "kinds": ["FLAPPING_STARTED"]},
        ]
        deployment.notifier(channels_file(tmp_path, channels, routes), **secrets())
        notify(deployment, ["warning"])
        notify(deployment, ["critical"], severity="CRITICAL")
        notify(deployment, ["site"], siteId=9)
        notify(deployment, ["both"], siteId=8, kind="FLAPPING_STARTED")
        eventually(lambda: len(critical.delivered) + len(site.delivered) + len(kind.delivered) >= 4, 30, "4 delivered")

    assert (critical.delivered, site.delivered, kind.delivered) == (["critical"], ["site", "both"], ["both"])


def test_a_new_channel_begins_with_what_comes_from_now_on_and_a_known_one_where_it_was(deployment: Deployment, tmp_path: Path) -> None:
    notify(deployment, ["old"])
    with webhook() as receiver:
        file = channels_file(tmp_path, {"ops": hook(receiver.url, start="now")})
        notifier = deployment.notifier(file, **secrets()).wait_until_ready()
        notifier.kill()
        notify(deployment, ["while-away"])
        deployment.notifier(file, **secrets()).wait_until_ready()
        notify(deployment, ["new"])
        eventually(lambda: len(receiver.delivered) >= 2, 30, "2 delivered")

    assert sorted(receiver.delivered) == ["new", "while-away"]


def test_a_notification_that_is_on_the_topic_twice_is_delivered_once(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as receiver:
        file = channels_file(tmp_path, {"ops": hook(receiver.url)})
        notifier = deployment.notifier(file, **secrets()).wait_until_ready()
        notify(deployment, ["n-0", "n-1"])
        eventually(lambda: len(receiver.delivered) >= 2, 30, "2 delivered")
        notifier.terminate()
        deployment.notifier(file, **secrets()).wait_until_ready()
        notify(deployment, ["n-0", "n-1", "n-2"])
        eventually(lambda: "n-2" in receiver.delivered, 30, "the new one delivered")
        time.sleep(2.0)

    assert sorted(receiver.delivered) == ["n-0", "n-1", "n-2"]


def test_what_is_no_notification_goes_to_the_dead_letters_with_its_bytes(deployment: Deployment, tmp_path: Path) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": deployment.stack.kafka_bootstrap})
    producer.produce("device-notifications", b"\xff not JSON", b"NTF-0", 0)
    producer.flush(10)
    with webhook() as receiver:
        deployment.notifier(channels_file(tmp_path, {"ops": hook(receiver.url)}), **secrets())
        notify(deployment, ["n-0"])
        eventually(lambda: receiver.delivered and put_aside(deployment), 30, "the other delivered")

    ((key, value, headers),) = put_aside(deployment)
    assert (key, value) == (b"NTF-0", b"\xff not JSON")
    assert (headers["dlt-error-class"], headers["dlt-channel"]) == ("invalid_json", "ops")


def test_status_says_lag_what_is_open_and_whether_the_receiver_takes_messages(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(always(500)) as failing, webhook() as well:
        channels = {"fails": hook(failing.url, retry={"attempts": 100, "initial_s": 0.1, "max_s": 1.0}, breaker={"failures": 2, "open_s": 60.0}),
                    "well": hook(well.url)}  # fmt: skip
        file = channels_file(tmp_path, channels)
        notifier = deployment.notifier(file, **secrets()).wait_until_ready()
        notify(deployment, names(5))

        def status() -> dict[str, dict[str, object]]:
            body = json.loads(_channels(deployment, file, "status", "--json").stdout)
            assert body["notifiers"] == 1
            return {each["channel"]: each for each in body["channels"]}

        eventually(lambda: status()["fails"]["breaker"] == "open" and status()["well"]["deliveredLately"] == 5, 30, "status")
        found = status()
        assert (found["fails"]["open"], found["fails"]["deliveredLately"], found["well"]["open"]) == (5, 0, 0)
        assert found["fails"]["lastError"] == "500 Internal Server Error"
        eventually(lambda: status()["well"]["lag"] == 0, 20, "no lag")
        table = _channels(deployment, file, "status").stdout
        assert "500 Internal Server Error" in table
        assert "channels" in str(notifier.url) or "fails" in table


def test_a_test_message_says_what_came_of_it(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(lambda number, _: (204 if number == 0 else 401, {})) as receiver:
        file = channels_file(tmp_path, {"ops": hook(receiver.url)})
        done = _channels(deployment, file, "test", "ops", "--json")
        refused = _channels(deployment, file, "test", "ops")
        unknown = _channels(deployment, file, "test", "nobody")
    gone = _channels(deployment, file, "test", "ops")

    assert done.returncode == 0
    assert json.loads(done.stdout)["messageId"] == receiver.requests[0].message_id
    assert (refused.returncode, unknown.returncode, gone.returncode) == (1, 2, 3)
    assert "401 Unauthorized" in refused.stderr
    assert "expected one of ops" in unknown.stderr


def _channels(deployment: Deployment, file: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = deployment.environment(EMS_CHANNELS_FILE=str(file), **secrets(), **environment)
    return subprocess.run(
        [sys.executable, "-m", "ems_streams", "channels", *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_server_that_hangs_after_it_has_taken_a_mail_does_not_get_it_again(deployment: Deployment, tmp_path: Path) -> None:
    with mailbox() as box:
        box.hangs_at_quit = True
        deployment.notifier(channels_file(tmp_path, {"on-call": mail(box.port, timeout_s=1.0, retry={"initial_s": 0.1})}))
        notify(deployment, names(2))
        # An attempt that had failed would be followed by another, and by another mail, before any end.
        eventually(
            lambda: [records[-1]["state"] for records in journal(deployment, "on-call").values()] == ["delivered"] * 2, 30, "both ended"
        )
    assert sorted(str(each["Message-ID"]) for each in box.mails) == ["<n-0.on-call@example.com>", "<n-1.on-call@example.com>"]
    assert put_aside(deployment) == []
    assert_one_chain_each(deployment, "on-call", names(2))
