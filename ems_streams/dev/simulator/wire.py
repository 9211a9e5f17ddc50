"""Topics and payloads as devices write them (contracts, section MQTT)."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from ems_streams.dev.simulator.fleet import Identity, Reading


@lru_cache(maxsize=8192)
def _second(moment_s: int) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def format_ms(moment_ms: int) -> str:
    """`2025-06-21T09:00:00.000Z`; of fixed length, so that text sorts as time does."""
    second, millisecond = divmod(moment_ms, 1000)
    return f"{_second(second)}{millisecond:03d}Z"


def telemetry_topic(device: Identity) -> str:
    """Where a device publishes its measurements."""
    return f"sites/{device.site_id}/devices/{device.serial_number}/telemetry"


def command_topic(device: Identity) -> str:
    """Where a device is told what to do."""
    return f"sites/{device.site_id}/devices/{device.serial_number}/commands"


def answer_topic(device: Identity) -> str:
    """Where a device answers to commands."""
    return f"{command_topic(device)}/ack"


def answer_payload(command_id: str, result: str, detail: str | None, timestamp_ms: int) -> bytes:
    """The answer to a command as a device sends it."""
    answer = {"commandId": command_id, "result": result, "timestamp": format_ms(timestamp_ms)}
    return orjson.dumps(answer if detail is None else {**answer, "detail": detail})


def status_topic(device: Identity) -> str:
    """Where a device publishes what it says of itself, and where the broker publishes its last will."""
    return f"sites/{device.site_id}/devices/{device.serial_number}/status"


def telemetry_payload(reading: Reading) -> bytes:
    """The measurement as a device sends it; the registry knows its device id."""
    return orjson.dumps(
        {
            "telemetryData": reading.metrics,
            "timestamp": format_ms(reading.timestamp_ms),
            "messageId": reading.message_id,
            "deviceType": reading.device.device_type,
        }
    )


def status_record(status: str, reason: str, timestamp_ms: int) -> dict[str, Any]:
    """What a device says of itself."""
    return {"status": status, "reason": reason, "timestamp": format_ms(timestamp_ms)}
