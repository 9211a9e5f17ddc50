"""For how long certificates are good: those that servers show, and our own, which settings name."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.pem_files import expires_at

CONNECT_TIMEOUT_S = 5.0
DAYS_MIN = 30
_DAY_S = 86_400

Ends = dict[str, float]
"""When certificates end, in seconds since 1970, by who shows them or by the setting that names them."""


def own_ends(files: Mapping[str, Path | None]) -> Ends:
    """Of our own, by setting. What cannot be read is left out: whoever starts with it says so."""
    ends = {f"{setting}={path}": expires_at(path) for setting, path in files.items() if path is not None}
    return {name: end.timestamp() for name, end in ends.items() if end is not None}


async def shown_end_s(host: str, port: int, tls: ssl.SSLContext) -> float:
    """When the certificate ends that a server shows; raises `OSError`, such as `ssl.SSLError`, or `TimeoutError`."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)
    try:
        return ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"])
    finally:
        writer.transport.abort()


def expiring(ends: Ends, now_s: float) -> list[Finding]:
    """Those that are good for less than `DAYS_MIN` days."""
    return [_expiring(name, end_s, now_s) for name, end_s in ends.items() if end_s - now_s < DAYS_MIN * _DAY_S]


def good_for(ends: Ends, now_s: float) -> dict[str, str]:
    """How long each is good for, in words."""
    return {name: f"certificate for {(end_s - now_s) / _DAY_S:.0f} days" for name, end_s in ends.items()}


def _expiring(name: str, end_s: float, now_s: float) -> Finding:
    left = f"{(end_s - now_s) / _DAY_S:.1f} days left, until {datetime.fromtimestamp(end_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return finding("tls-expiring", f"the certificate of {name} runs out", found=left, expected=f"at least {DAYS_MIN}", address=name)
