"""A command from the HTTP API to a device and back, looked at where people look: on the page."""

import asyncio
import json
import urllib.request
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from ems_streams.dev.simulator import read_ledger
from tests.support.commands import DeviceLog
from tests.support.processes import Deployment, get

pytestmark = pytest.mark.e2e

SERIAL = "E2E-INV-00001"
LIMIT_KW = 1.5


def post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of a POST that is taken."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.status, json.load(response)


async def test_a_power_limit_is_in_the_next_telemetry_of_the_device_and_on_the_page(browser: Browser, deployment: Deployment) -> None:
    for process in (deployment.ingress(), deployment.worker(), deployment.gateway()):
        await asyncio.to_thread(process.wait_until_ready)
    log, ledger = DeviceLog(deployment.directory / "commands.jsonl"), deployment.directory / "ledger"
    options = ["--seed", "3", "--prefix", "E2E-", "--devices", "2", "--sites", "1", "--rate", "4", "--duration", "0"]
    simulator = deployment.start("simulator", ["simulate", *options, "--command-log", str(log.path), "--ledger", str(ledger)], 0, {})
    api = f"http://127.0.0.1:{deployment.ports.gateway}"

    page = await browser.new_page()
    await page.goto(f"{api}/devices")
    row = page.locator("tr.device", has_text=SERIAL)
    await expect(row).to_contain_text(" kW", timeout=30_000)
    _, before = await asyncio.to_thread(get, f"{api}/api/v1/devices/{SERIAL}")
    assert before["latest"]["powerKw"] > 2 * LIMIT_KW

    body = {"command": "SET_POWER_LIMIT", "parameters": {"powerLimitKw": LIMIT_KW}, "requestedBy": "e2e"}
    status, command = await asyncio.to_thread(post, f"{api}/api/v1/devices/{SERIAL}/commands", body)
    assert status == 202
    await expect(row).to_contain_text(f"{LIMIT_KW} kW", timeout=20_000)
    await page.goto(f"{api}/notifications")
    told = page.locator("#feed li", has_text=f"SET_POWER_LIMIT for {SERIAL}").filter(has_text="carried out")
    await expect(told).to_have_count(1, timeout=20_000)

    command_id = command["commandId"]
    _, view = await asyncio.to_thread(get, f"{api}/api/v1/commands/{command_id}")
    assert (view["status"], view["executed"], view["final"]) == ("COMPLETED", "yes", True)
    simulator.terminate()
    assert log.executions() == {command_id: 1}
    [executed] = log.lines("EXECUTED", command_id=command_id)
    powers = [(line["timestamp"], line["metrics"]["powerKw"]) for line in read_ledger(ledger) if line["serialNumber"] == SERIAL]
    assert {power_kw for at, power_kw in powers if at > executed["at"]} == {LIMIT_KW}, "the very next measurement has it"
    assert min(power_kw for at, power_kw in powers if at < view["requestedAt"]) > LIMIT_KW
