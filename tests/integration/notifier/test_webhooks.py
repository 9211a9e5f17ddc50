"""Webhooks by the notifier as it is run, on a real Kafka, to a real HTTP server."""

import base64
import hashlib
import hmac
import time
from pathlib import Path

import pytest

from tests.support.notifier import assert_one_chain_each, channels_file, hook, notify, put_aside, secrets
from tests.support.processes import Deployment, eventually
from tests.support.receivers import SECRET, always, webhook

pytestmark = pytest.mark.integration


def names(count: int) -> list[str]:
    return [f"n-{number}" for number in range(count)]


def test_each_notification_is_posted_once_signed_and_in_the_order_of_its_device(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as receiver:
        deployment.notifier(channels_file(tmp_path, {"ops": hook(receiver.url)}), **secrets()).wait_until_ready()
        notify(deployment, names(100), devices=5)
        eventually(lambda: len(receiver.delivered) >= 100, 30, "100 delivered")

    assert sorted(receiver.delivered) == sorted(names(100))
    for device in range(5):
        told = [int(each.removeprefix("n-")) for each in receiver.delivered if int(each.removeprefix("n-")) % 5 == device]
        assert told == sorted(told)
    for request in receiver.requests:
        signed = b".".join((request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body))
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        assert request.headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert request.headers["idempotency-key"] == request.notification_ids[0]
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert_one_chain_each(deployment, "ops", names(100))


def test_what_fails_two_of_three_times_is_delivered_all_the_same(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(lambda number, _: (204 if number % 3 == 2 else 500, {})) as receiver:
        config = hook(receiver.url, retry={"attempts": 50, "initial_s": 0.05, "max_s": 0.2}, breaker={"failures": 10, "open_s": 0.1})
        deployment.notifier(channels_file(tmp_path, {"ops": config}), **secrets())
        notify(deployment, names(60))
        eventually(lambda: len(receiver.delivered) >= 60, 60, "60 delivered")

    assert sorted(receiver.delivered) == sorted(names(60))
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in receiver.attempts().values())
    assert max(map(len, receiver.attempts().values())) > 1
    eventually(lambda: _ok(lambda: assert_one_chain_each(deployment, "ops", names(60))), 10, "outcomes on record")
    assert put_aside(deployment) == []


def test_what_cannot_be_delivered_is_put_aside_with_its_bytes_and_the_rest_is_delivered(deployment: Deployment, tmp_path: Path) -> None:
    refused = {"n-3": 400, "n-7": 503}

    def answer(_number: int, body: bytes) -> tuple[int, dict[str, str]]:
        return next((status for name, status in refused.items() if f'"{name}"'.encode() in body), 204), {}

    with webhook(answer) as receiver:
        config = hook(receiver.url, breaker={"failures": 20})
        notifier = deployment.notifier(channels_file(tmp_path, {"ops": config}), **secrets())
        published = notify(deployment, names(10))
        eventually(lambda: len(put_aside(deployment)) >= 2, 30, "two put aside")
        eventually(lambda: len(receiver.delivered) >= 8, 30, "the rest delivered")
        notifier.wait_until_ready()

    assert sorted(receiver.delivered) == sorted(set(names(10)) - set(refused))
    found = {headers["dlt-error-class"]: (value, headers) for _, value, headers in put_aside(deployment)}
    assert found.keys() == {"http_400", "http_503"}
    for name, attempts in (("n-3", "1"), ("n-7", "4")):
        value, headers = found[f"http_{refused[name]}"]
        assert value == published[name]
        assert (headers["dlt-attempts"], headers["dlt-channel"], headers["dlt-stage"]) == (attempts, "ops", "notifier")
        assert headers["dlt-original-topic"] == "device-notifications"
    assert receiver.attempts()["n-3"] == [1]
    assert receiver.attempts()["n-7"] == [1, 2, 3, 4]


def test_what_hangs_is_put_aside_after_its_attempts_and_what_comes_when_it_answers_is_delivered(
    deployment: Deployment, tmp_path: Path
) -> None:
    with webhook(lambda _, body: (0 if b'"hangs"' in body else 204, {})) as receiver:
        config = hook(receiver.url, timeout_s=0.5, retry={"attempts": 3, "initial_s": 0.1, "max_s": 0.2}, breaker={"failures": 20})
        deployment.notifier(channels_file(tmp_path, {"ops": config}), **secrets())
        notify(deployment, ["n-0", "hangs", "n-2"])
        eventually(lambda: len(receiver.delivered) == 2 and put_aside(deployment), 30, "two delivered, one put aside")

    ((_, _, headers),) = put_aside(deployment)
    assert (headers["dlt-error-class"], headers["dlt-attempts"]) == ("TimeoutError", "3")
    assert headers["dlt-error-message"] == "no answer within 0.5 s"
    assert receiver.attempts()["hangs"] == [1, 2, 3]


@pytest.mark.parametrize("odd", ["a\r\nX-Injected: 1", "a\x00b", "ü" * 40, "x" * 20_000, " ", "../../etc"])
def test_odd_ids_are_delivered_or_put_aside_and_hold_up_nothing(deployment: Deployment, tmp_path: Path, odd: str) -> None:
    with webhook() as receiver:
        deployment.notifier(channels_file(tmp_path, {"ops": hook(receiver.url)}), **secrets())
        notify(deployment, [odd, "n-1"], title="odd")
        eventually(lambda: "n-1" in receiver.delivered, 30, "the other delivered")
        eventually(lambda: odd in receiver.delivered or put_aside(deployment), 30, "the odd one delivered or put aside")

    assert all("x-injected" not in request.headers for request in receiver.requests)
    assert (odd in receiver.delivered) != bool(put_aside(deployment))


def test_a_receiver_that_is_gone_gets_everything_when_it_is_back(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as receiver:
        receiver.stop()
        config = hook(receiver.url, retry={"attempts": 100, "initial_s": 0.05, "max_s": 0.3})
        notifier = deployment.notifier(channels_file(tmp_path, {"ops": config}), **secrets()).wait_until_ready()
        notify(deployment, names(40))
        eventually(lambda: "circuit breaker" in str(_channels(notifier.url)), 20, "breaker open")
        receiver.start()
        eventually(lambda: len(receiver.delivered) >= 40, 30, "40 delivered")

    assert sorted(receiver.delivered) == sorted(names(40))
    assert put_aside(deployment) == []


def test_what_is_retried_waits_for_as_long_as_the_receiver_says(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(lambda number, _: (429, {"Retry-After": "2"}) if number == 0 else (204, {})) as receiver:
        config = hook(receiver.url, retry={"attempts": 4, "initial_s": 0.05, "max_s": 60})
        deployment.notifier(channels_file(tmp_path, {"ops": config | {"concurrency": 1}}), **secrets())
        notify(deployment, names(3))
        eventually(lambda: len(receiver.delivered) >= 3, 30, "3 delivered")

    assert min(request.at_s for request in receiver.requests[1:]) - receiver.requests[0].at_s >= 2.0


def test_redirects_are_not_followed(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as elsewhere, webhook(always(302, Location=elsewhere.url)) as receiver:
        deployment.notifier(channels_file(tmp_path, {"ops": hook(receiver.url)}), **secrets())
        notify(deployment, ["n-0"])
        eventually(lambda: put_aside(deployment), 30, "put aside")

    assert elsewhere.requests == []
    assert put_aside(deployment)[0][2]["dlt-error-class"] == "http_302"


def _channels(url: str) -> object:
    from tests.support.processes import get

    return get(f"{url}/readyz")[1]


def _ok(check: object) -> bool:
    try:
        check()  # type: ignore[operator]
    except AssertionError:
        return False
    return True
