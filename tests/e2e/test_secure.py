"""`ems-streams dev --secure`: the main job with TLS, logins and rights everywhere; and none of its secrets where others could read it."""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ems_streams.dev.simulator.ledger import totals
from tests.support.access import check_seed_example, until_exact
from tests.support.processes import eventually
from tests.support.secure_dev import SecureDev, secure_dev

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

DEVICES = ("1/INV-001", "1/INV-002")
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureDev]:
    with secure_dev(tmp_path_factory.mktemp("dev"), "--devices", "4", "--rate", "4", devices=DEVICES) as running:
        yield running


def test_the_seed_example(secure: SecureDev) -> None:
    check_seed_example(secure.access(), "INV-001")


def test_a_fleet_is_in_the_live_tables_exactly(secure: SecureDev, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    options = ["--prefix", "DEMO-T-", "--devices", "20", "--rate", "400", "--duration", "3", "--ledger", str(ledger)]
    done = secure.simulate("--seed", "7", *options, "--faults", "duplicates=0.02,out-of-order=0.02")
    assert done.returncode == 0, done.stderr
    until_exact(secure.access(), ledger)
    assert len(totals(ledger)) == 20


def test_a_closed_window_is_in_the_history_that_the_gateway_reads(secure: SecureDev) -> None:
    serial, access = "INV-002", secure.access("viewer")

    async def publish() -> None:
        async with access.device(serial) as device:
            for moment, power_kw in ((HOUR, 10.0), (HOUR + timedelta(hours=2, minutes=5), 20.0)):
                payload = {"powerKw": power_kw, "timestamp": moment.isoformat()}
                await device.publish(f"sites/1/devices/{serial}/telemetry", json.dumps(payload).encode())

    asyncio.run(publish())
    # By the address that the gateway has, as its user.
    url = (secure.run.secrets.directory / "database-url-gateway").read_text()

    async def row() -> float | None:
        connection = await asyncpg.connect(url)
        try:
            query = "SELECT metrics::json->'powerKw'->>'sum' FROM device_aggregates WHERE serial_number = $1 AND window_size = '1h' AND window_start = $2"
            return await connection.fetchval(query, serial, HOUR)
        finally:
            await connection.close()

    assert float(eventually(lambda: asyncio.run(row()), 30, "the hour is in PostgreSQL")) == 10.0
    start = f"{HOUR:%Y-%m-%dT%H:%M:%SZ}"
    _, answer = access.get(f"/api/v1/devices/{serial}/aggregates?window=1h&from={start}&limit=10")
    assert answer["historyAvailable"] is True
    assert [each["metrics"]["powerKw"]["sum"] for each in answer["windows"] if each["windowStart"] == start] == [10.0]


def test_the_operator_does_everything_with_the_env_file_of_the_board(secure: SecureDev) -> None:
    assert f"set -a; . {secure.run.operator_env}; set +a" in "\n".join(secure.dev.lines)
    sent = secure.command("command", "send", "DEMO-INV-00001", "SET_POWER_LIMIT", "--param", "powerLimitKw=1.5", "--wait", "--json")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert json.loads(sent.stdout)["status"] == "COMPLETED"
    wanted = (["topics", "plan"], ["devices", "list"], ["dlt", "list"], ["db", "status"], ["rules", "list"], ["acls", "plan"])
    for done in secure.commands(*((["doctor", "--json"], {}), *(([*each, "--json"], {}) for each in wanted)))[1:]:
        assert done.returncode == 0, f"{done.args}: {done.stdout}{done.stderr}"
    diagnosis = json.loads(next(text for what, text in secure.printed if what.startswith("doctor")))
    assert isinstance(diagnosis, dict)
    critical = [each for each in diagnosis["findings"] if each["severity"] == "CRITICAL"]
    assert critical == []


def test_whoever_shows_nothing_gets_nothing(secure: SecureDev) -> None:
    access = secure.access()
    access.headers = {}
    assert access.get("/api/v1/devices")[0] == 401
    with pytest.raises(OSError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
        urllib.request.urlopen(f"{secure.api}/readyz", timeout=5, context=ssl.create_default_context())

    async def refused() -> None:
        async with access.session() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(f"{secure.api}/ws/notifications")
        # As the sink, onto a topic that is none of the sink's.
        options = {
            **secure.access().kafka,
            "sasl_plain_username": "ems-sink",
            "sasl_plain_password": secure.run.secrets.value("kafka-sink"),
        }
        producer = AIOKafkaProducer(**options)
        await producer.start()
        try:
            with pytest.raises(KafkaError, match=r"(?i)authorization|TopicAuthorizationFailed"):
                await producer.send_and_wait("device-telemetry", b"{}", b"INV-001")
        finally:
            await producer.stop()

    asyncio.run(refused())


# -- Secrets --


def answers(secure: SecureDev) -> Iterator[tuple[str, str]]:
    """What everything of the run says over HTTP."""
    access = secure.access()
    plain = [secure.ports.ingress, secure.ports.sink, secure.ports.worker]
    urls = [f"http://127.0.0.1:{port}/{path}" for port in plain for path in ("metrics", "readyz", "livez")]
    urls += [f"{secure.api}/{path}" for path in ("metrics", "readyz", "openapi.json", "asyncapi.json", "api/v1/devices", "")]
    for url in urls:
        request = urllib.request.Request(url, headers=dict(access.headers) if url.startswith("https") else {})
        try:
            with urllib.request.urlopen(request, timeout=10, context=secure.tls if url.startswith("https") else None) as response:
                yield url, f"{response.headers}{response.read().decode(errors='replace')}"
        except urllib.error.HTTPError as error:
            yield url, f"{error.headers}{error.read().decode(errors='replace')}"


def outputs(secure: SecureDev) -> list[tuple[str, str]]:
    """What commands print, also when they fail because of a secret that is not the right one."""
    swapped = str(secure.run.secrets.path("mqtt-key-store"))
    as_password = {"EMS_KAFKA_PASSWORD_FILE": swapped}
    as_url = {"EMS_DATABASE_URL_FILE": swapped, "EMS_GATEWAY_TOKEN_FILE": swapped, "EMS_INTERNAL_TOKEN_FILE": swapped}
    secure.commands(
        (["config", "show"], {}),
        (["config", "show", "--json"], {}),
        (["doctor", "--json"], {**as_password, **as_url}),
        (["topics", "list"], as_password),
        (["db", "status"], as_url),
        (["command", "list", "INV-001"], as_url),
        (["worker"], {"EMS_MQTT_KEY_FILE": swapped}),
    )
    return secure.printed


def test_no_secret_is_where_others_could_read_it(secure: SecureDev) -> None:
    for texts in (secure.logs(), secure.processes(), answers(secure), outputs(secure)):
        searched = list(texts)
        assert searched
        assert secure.leaks(searched) == []


def test_the_search_finds_every_secret_that_is_planted(secure: SecureDev) -> None:
    secrets = secure.secrets()
    # Passwords, tokens, keys of certificates, and the broker's own.
    assert {
        "kafka-worker",
        "database-ems_sink",
        "gateway-token-operator",
        "internal-token",
        "ca-key.pem",
        "mqtt-key-store",
    } <= secrets.keys()
    assert any(name.endswith(".properties-0") for name in secrets)
    planted = secure.data_dir / "secure" / "logs" / "planted.log"
    for name, secret in secrets.items():
        planted.write_text(f"2026-01-01 [info] connecting password={secret}\n")
        assert any(name in leak for leak in secure.leaks(secure.logs())), name
    planted.unlink()


def test_everything_secret_is_closed_to_others(secure: SecureDev) -> None:
    directory = secure.run.directory
    for path in [directory, *directory.rglob("*"), secure.run.operator_env]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
