"""Each command is executed at most once and ends in a true state, whoever is killed: agents, ingress or the MQTT broker."""

import pytest

from tests.chaos.command_load import CommandLoad, start_fleet
from tests.chaos.command_oracles import commands_in_the_end, published_once
from tests.chaos.faults import Kill, ServerKill
from tests.chaos.harness import System, sized, strike
from tests.chaos.results import verdict
from tests.chaos.tap import Tap

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

EXPIRES_IN_S = 45
FAULTS = "refuse=0.02,fail=0.02,late=0.02,twice=0.02,never=0.01,offline=0.04"


def test_commands(system: System) -> None:
    system.start(ingresses=1, workers=2)
    system.add("gateway", system.deployment.gateway)
    system.wait_ready()
    devices = sized(500, 50)
    fleet = start_fleet(system, devices=devices, faults=FAULTS, rate=devices / 5.0)
    mqtt = system.deployment.stack.mqtt
    kills = [Kill(system, "worker")] * sized(8, 3) + [Kill(system, "ingress")] * sized(6, 2) + [ServerKill(system, mqtt)] * sized(6, 2)
    with Tap(mqtt.url) as tap:
        load = CommandLoad(system, fleet, commands=sized(10_000, 600), rate=25.0, expires_in_s=EXPIRES_IN_S).start()
        strike(system, load, kills)
        finding = commands_in_the_end(system, load, timeout_s=300.0) + published_once(load.asked, tap.seen)
    verdict("commands", finding, load=f"{load}, {FAULTS}", faults=system.tell_faults())
