"""The notifier is killed, paused and shared; receivers hang. Nothing is lost, nothing is attempted twice under one number, and nobody waits for another."""

import asyncio
import os
import signal
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.notifier import PATIENT, assert_one_chain_each, channels_file, hook, journal, mail, notify, put_aside, secrets
from tests.support.processes import Deployment, Running, eventually, get
from tests.support.receivers import Webhook, always, mailbox, webhook

pytestmark = pytest.mark.integration

COUNT = 200
HANGS_S = 10.0


def names(count: int, prefix: str = "n") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def assert_attempts_rise(receiver: Webhook) -> None:
    """No attempt of a notification came twice, nor after a later one."""
    for notification_id, numbers in receiver.attempts().items():
        assert all(earlier < later for earlier, later in pairwise(numbers)), (notification_id, numbers)


def test_a_notifier_that_is_killed_again_and_again_delivers_all_in_one_chain_each(deployment: Deployment, tmp_path: Path) -> None:
    # Two of three fail, and each takes a while, so that a kill finds attempts under way.
    def answer(number: int, _body: bytes) -> tuple[int, dict[str, str]]:
        time.sleep(0.02)
        return (204 if number % 3 == 2 else 500), {}

    with webhook(answer) as receiver:
        config = hook(receiver.url, retry=PATIENT, breaker={"failures": 1000}, concurrency=8)
        file = channels_file(tmp_path, {"ops": config})
        notifier = deployment.notifier(file, **secrets()).wait_until_ready()
        notify(deployment, names(COUNT), devices=40)
        for kill in range(1, 6):
            eventually(lambda at=kill * COUNT // 8: len(receiver.delivered) >= at, 60, "progress")
            notifier.kill()
            notifier = deployment.notifier(file, **secrets())
        eventually(lambda: set(receiver.delivered) == set(names(COUNT)), 90, "all delivered")
        eventually(lambda: all(each[-1]["state"] != "open" for each in journal(deployment, "ops").values()), 20, "outcomes on record")

    assert_attempts_rise(receiver)
    assert_one_chain_each(deployment, "ops", names(COUNT))
    assert put_aside(deployment) == []
    # Whoever was interrupted says so, and what the receiver may have got twice has the same id.
    interrupted = [
        name for name, records in journal(deployment, "ops").items() if any("process ended" in each.get("error", "") for each in records)
    ]
    assert interrupted
    twice = len(receiver.delivered) - COUNT
    assert twice <= len(interrupted)


def test_a_hanging_webhook_delays_neither_email_nor_another_webhook(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(always(0)) as hanging, webhook() as well, mailbox() as box, socket.create_server(("127.0.0.1", 0)) as silent:
        good = {"mail": mail(box.port), "well": hook(well.url)}
        bad = {
            "hangs": hook(hanging.url, timeout_s=HANGS_S, retry=PATIENT),
            # Takes connections and never says a word.
            "silent": mail(silent.getsockname()[1], timeout_s=HANGS_S, retry=PATIENT),
        }
        alone = deployment.notifier(channels_file(tmp_path, good), **secrets()).wait_until_ready()

        def seconds_for(told: list[str], before: int) -> float:
            began_s = time.time()
            notify(deployment, told)
            eventually(
                lambda: len(box.mails) >= before + 30 and len(well.delivered) >= before + 30, 20, "mail and the other webhook have all"
            )
            return max(box.at_s[-1], well.requests[-1].at_s) - began_s

        alone_s = seconds_for(names(30, "alone"), 0)
        assert alone.terminate() == 0
        notifier = deployment.notifier(channels_file(tmp_path, good | bad), **secrets()).wait_until_ready()
        beside_s = seconds_for(names(30), 30)
        assert hanging.requests, "the hanging one has been asked as well"
        view = {each["channel"]: each for each in get(f"{notifier.url}/channels")[1]["channels"]}
        assert {name: each["delivered"] for name, each in view.items()} == {"hangs": 0, "silent": 0, "well": 30, "mail": 30}
        eventually(
            lambda: f"no answer within {HANGS_S:g} s" in str(get(f"{notifier.url}/readyz")[1]["checks"]["channels"]),
            30,
            "the silent ones are named",
        )
        assert get(f"{notifier.url}/readyz")[0] == 200, "receivers that are away are no fault of the notifier"

    print(f"30 notifications by e-mail and webhook: {alone_s:.2f} s alone, {beside_s:.2f} s beside two channels that hang")
    # Two channels more work as well; but nobody waits for one that hangs.
    assert beside_s < HANGS_S


def test_what_a_dead_receiver_does_not_take_stays_in_kafka(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(always(503)) as receiver:
        config = hook(receiver.url, retry=PATIENT, breaker={"failures": 1, "open_s": 60.0})
        notifier = deployment.notifier(channels_file(tmp_path, {"ops": config}), **secrets()).wait_until_ready()
        notify(deployment, names(1500), devices=50)
        eventually(lambda: _view(notifier)["open"] == 1000, 30, "as many open as may be")
        time.sleep(3.0)
        view = _view(notifier)
        assert view["open"] == 1000
        assert view["lag"] >= 500
        # Its lag is seen by the ordinary tools as well, under the channel's own group.
        shown = _group_lag(deployment, f"{deployment.application_id}-channel-ops")
        assert shown >= 1500


def test_two_notifiers_share_the_channels_and_one_takes_over_from_the_other(deployment: Deployment, tmp_path: Path) -> None:
    with webhook() as receiver:
        channels = {f"c{number}": hook(receiver.url) for number in range(6)}
        file = channels_file(tmp_path, channels)
        first, second = (deployment.notifier(file, index, **secrets()) for index in range(2))
        eventually(lambda: min(len(_names(first)), len(_names(second))) > 0, 40, "both have channels")
        eventually(lambda: sorted(_names(first) + _names(second)) == sorted(channels), 20, "each channel once")
        notify(deployment, names(20))
        eventually(lambda: len(receiver.delivered) >= 120, 30, "delivered by both")
        first.kill()
        notify(deployment, names(20, "later"))
        eventually(lambda: len(receiver.delivered) >= 240, 40, "delivered by the other")
        time.sleep(1.0)

    assert len(receiver.delivered) == 240
    for channel in channels:
        assert_one_chain_each(deployment, channel, names(20) + names(20, "later"))


def test_a_notifier_that_wakes_from_a_pause_past_its_session_attempts_nothing_more(deployment: Deployment, tmp_path: Path) -> None:
    def answer(number: int, _body: bytes) -> tuple[int, dict[str, str]]:
        time.sleep(0.2)
        return (204 if number % 2 else 500), {}

    with webhook(answer) as receiver:
        config = hook(receiver.url, retry=PATIENT, breaker={"failures": 1000}, concurrency=1)
        file = channels_file(tmp_path, {"ops": config})
        paused = deployment.notifier(file, 0, **secrets()).wait_until_ready()
        notify(deployment, names(40), devices=1)
        eventually(lambda: len(receiver.requests) >= 5, 20, "some attempts")
        os.kill(paused.popen.pid, signal.SIGSTOP)
        other = deployment.notifier(file, 1, **secrets())
        eventually(lambda: _names(other) == ["ops"], 40, "the other has the channel")
        before = len(receiver.requests)
        eventually(lambda: len(receiver.requests) > before + 5, 30, "and delivers")
        os.kill(paused.popen.pid, signal.SIGCONT)
        eventually(lambda: set(receiver.delivered) == set(names(40)), 60, "all delivered")
        eventually(lambda: all(each[-1]["state"] != "open" for each in journal(deployment, "ops").values()), 20, "outcomes on record")

    assert_attempts_rise(receiver)
    assert_one_chain_each(deployment, "ops", names(40))


def test_an_outage_of_kafka_is_waited_for(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(lambda *_: (time.sleep(0.05), (204, {}))[1]) as receiver:
        notifier = deployment.notifier(channels_file(tmp_path, {"ops": hook(receiver.url, concurrency=2)}), **secrets()).wait_until_ready()
        notify(deployment, names(100), devices=20)
        eventually(lambda: len(receiver.delivered) >= 10, 20, "some delivered")
        asyncio.run(deployment.stack.kafka.kill())
        try:
            eventually(lambda: get(f"{notifier.url}/readyz")[0] == 503, 20, "not ready")
            assert get(f"{notifier.url}/livez")[0] == 200
            time.sleep(8.0)
            assert notifier.popen.poll() is None, notifier.log_tail()
        finally:
            asyncio.run(deployment.stack.kafka.start())
        notifier.wait_until_ready()
        notify(deployment, names(20, "after"))
        wanted = set(names(100) + names(20, "after"))
        eventually(lambda: set(receiver.delivered) == wanted, 60, "all delivered")
        eventually(lambda: all(each[-1]["state"] != "open" for each in journal(deployment, "ops").values()), 20, "outcomes on record")

    assert_attempts_rise(receiver)
    assert_one_chain_each(deployment, "ops", wanted)


def test_sigterm_ends_it_in_order(deployment: Deployment, tmp_path: Path) -> None:
    with webhook(lambda *_: (time.sleep(0.5), (204, {}))[1]) as receiver:
        file = channels_file(tmp_path, {"ops": hook(receiver.url)})
        notifier = deployment.notifier(file, **secrets()).wait_until_ready()
        notify(deployment, names(8), devices=8)
        eventually(lambda: receiver.requests, 20, "the first")
        assert notifier.terminate() == 0
        had = sorted(receiver.delivered)
        deployment.notifier(file, **secrets())
        eventually(lambda: len(receiver.delivered) >= 8, 30, "the rest")
        time.sleep(1.0)

    assert had
    # What was under way was waited for: nothing came twice.
    assert sorted(receiver.delivered) == sorted(names(8))
    assert_one_chain_each(deployment, "ops", names(8))


def test_it_does_not_start_without_its_topic_and_names_it(deployment: Deployment, tmp_path: Path) -> None:
    file = channels_file(tmp_path, {"ops": hook("http://127.0.0.1:1/")})
    notifier = deployment.notifier(file, EMS_APPLICATION_ID="nobodys", **secrets())

    assert notifier.popen.wait(60) == 1
    assert "topics missing: nobodys-deliveries-changelog; create them with `ems-streams topics apply`" in notifier.log_tail()


def test_without_channels_it_waits_for_its_end(deployment: Deployment) -> None:
    port = deployment.ports.notifier
    notifier = deployment.start("notifier", ["notifier"], port, {"EMS_NOTIFIER_PORT": str(port)}).wait_until_ready()

    assert "EMS_CHANNELS_FILE is not set" in str(get(f"{notifier.url}/readyz")[1])
    assert notifier.terminate() == 0


def _view(notifier: Running) -> dict[str, object]:
    return get(f"{notifier.url}/channels")[1]["channels"][0]


def _names(notifier: Running) -> list[str]:
    body = get(f"{notifier.url}/channels")[1] or {"channels": []}
    return [each["channel"] for each in body["channels"] if each["running"]]


def _group_lag(deployment: Deployment, group: str) -> int:
    from confluent_kafka import Consumer, TopicPartition

    tps = [TopicPartition("device-notifications", number) for number in range(deployment.partitions)]
    consumer = Consumer({"bootstrap.servers": deployment.stack.kafka_bootstrap, "group.id": group})
    try:
        committed = {each.partition: each.offset for each in consumer.committed(tps, timeout=10)}
        return sum(consumer.get_watermark_offsets(tp, timeout=10)[1] - max(0, committed[tp.partition]) for tp in tps)
    finally:
        consumer.close()
