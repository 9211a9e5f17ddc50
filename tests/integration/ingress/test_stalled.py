"""An ingress that is stuck although Kafka takes records says so, and ends itself."""

import asyncio
import uuid

import pytest

from ems_streams.mqtt.publisher import MqttPublisher
from tests.support.deployment import deployment  # noqa: F401 - a fixture
from tests.support.processes import Deployment, eventually, get

pytestmark = pytest.mark.integration

# From the first message on nothing is handled any more, as by a task that waits for something that never comes.
STUCK_INGRESS = """
import asyncio
from agents.ingress import Translator
from ems_streams.cli.main import run

async def wait_for_ever(self, messages):
    await asyncio.Event().wait()

Translator.translate_patiently = wait_for_ever
run()
"""


async def send(deployment: Deployment) -> None:  # noqa: F811 - the fixture
    async with MqttPublisher(deployment.stack.mqtt_url, f"stuck-{uuid.uuid4().hex[:6]}") as device:
        await device.publish("sites/3/devices/STUCK-1/telemetry", b'{"powerKw": 1}', qos=0)


def test_a_stuck_ingress_says_so_and_ends(deployment: Deployment) -> None:  # noqa: F811 - the fixture
    deployment.program = ("-c", STUCK_INGRESS)
    ingress = deployment.ingress(EMS_STALL_TIMEOUT_S="6").wait_until_ready()
    asyncio.run(send(deployment))

    def told() -> bool:
        body = get(f"{ingress.url}/livez")[1]
        return bool(body) and "1 messages under way, none handled for" in body["checks"]["progress"]["detail"]

    eventually(told, 15, "the check says what does not move")
    assert ingress.popen.wait(30) == 1
    assert "no progress: 1 messages under way" in ingress.log_tail()
