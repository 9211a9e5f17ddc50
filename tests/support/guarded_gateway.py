"""A whole gateway in this process, guarded by tokens, with stand-ins of workers behind it, and a feed that a test fills; nothing of it needs Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

from ems_streams.access.token_entries import TokenEntry, hash_of, new_token
from ems_streams.access.token_file import add_token
from ems_streams.domain.registry import RegistryEntry
from ems_streams.gateway.filters import facts_of
from ems_streams.gateway.ring import Ring
from ems_streams.gateway.server import Gateway
from ems_streams.ops.http import bound_port, start_site
from ems_streams.settings import Settings
from tests.support.worker_stand_in import WorkerCluster, device_view

OWN, OTHER = 1, 2
ALARM_OWN, ALARM_OTHER, ALARM_NONE = "a" * 32, "b" * 32, "c" * 32


def alarm(alarm_id: str, serial_number: str, site: int) -> dict[str, Any]:
    return {
        "alarmId": alarm_id, "serialNumber": serial_number, "siteId": site, "severity": "WARNING", "state": "RAISED", "ruleId": "hot",
        "raisedAt": "2025-10-04T10:15:00Z", "clearedAt": None, "clearedBecause": None, "acknowledgedBy": None,
    }  # fmt: skip


@dataclass
class Guarded:
    """The gateway, and a token for each name that a test asks for."""

    gateway: Gateway
    client: aiohttp.ClientSession
    tokens_file: Path
    audit_file: Path
    url: str
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, role: str, sites: object = "all", **more: object) -> str:
        """A token of a role, the same for the same question."""
        name = f"{role}-{sites}".replace("[", "").replace("]", "").replace(", ", "-") + "".join(f".{each}" for each in more.values())
        if name not in self.tokens:
            self.tokens[name] = new_token()
            entry = {"name": name, "hash": hash_of(self.tokens[name]), "role": role, "sites": sites, **more}
            add_token(self.tokens_file, TokenEntry.model_validate(entry))
            self.look_again()
        return self.tokens[name]

    def look_again(self) -> None:
        """Have the file read now, and not within a second."""
        tokens = self.gateway.security._tokens
        assert tokens is not None
        tokens._looked_s = float("-inf")

    async def ask(self, method: str, path: str, token: str | None = None, body: object = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, JSON or text, and headers of an answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if method in {"POST", "PUT", "PATCH"}:
            sent.setdefault("Content-Type", "application/json")
        data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.client.request(method, path, data=data, headers=sent, allow_redirects=False) as response:
            content = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return response.status, orjson.loads(content) if is_json else content.decode(errors="replace"), response.headers

    def audit(self) -> list[dict[str, Any]]:
        """Lines of the audit log."""
        return [orjson.loads(line) for line in self.audit_file.read_bytes().splitlines()]

    def tell(self, identifier: str, site: int | None, partition: int = 0) -> None:
        """Put a notification into the feed."""
        ring = self.gateway.feed.ring
        assert ring is not None
        document = {"notificationId": identifier, "siteId": site, "serialNumber": f"D{site}", "severity": "INFO", "kind": "STATUS_CHANGED"}
        ring.add(partition, ring.after[partition], identifier, orjson.dumps(document), facts_of(document))
        self.gateway.feed._wake()


@asynccontextmanager
async def guarded(directory: Path, **changed: Any) -> AsyncIterator[Guarded]:
    """Devices D1 of the site 1 and D2 of the site 2, each with an alarm."""
    cluster = WorkerCluster()
    await cluster.start(2)
    cluster.put(device_view("D1", site=OWN), device_view("D2", site=OTHER))
    cluster.alarms = [alarm(ALARM_OWN, "D1", OWN), alarm(ALARM_OTHER, "D2", OTHER)]
    cluster.windows = {str(OWN): [], str(OTHER): []}
    tokens_file, audit_file = directory / "tokens.yaml", directory / "audit.jsonl"
    tokens_file.write_text("tokens: []\n")
    settings = Settings(
        **{
            "kafka_bootstrap_servers": "127.0.0.1:1",
            "database_url": SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
            "gateway_tokens_file": tokens_file,
            "gateway_audit_file": audit_file,
            "query_timeout_s": 1.0,
            **changed,
        }
    )
    async with aiohttp.ClientSession() as session:
        gateway = Gateway(settings, session)
        gateway.topology._seeds = (cluster.workers[0].url,)
        await gateway.topology.refresh()
        gateway.feed.ring = Ring(1000, [0, 0])
        registry = gateway.command_desk._registry
        for serial, site in (("D1", OWN), ("D2", OTHER)):
            registry.learn(RegistryEntry(device_id=site, serial_number=serial, site_id=site, device_type="SOLAR_INVERTER"))
        registry.caught_up = True
        gateway.command_desk._ready = True
        runner = await start_site(gateway.app(), "127.0.0.1", 0, "PORT", shutdown_timeout_s=0.5)
        url = f"http://127.0.0.1:{bound_port(runner)}"
        try:
            async with aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as client:
                yield Guarded(gateway, client, tokens_file, audit_file, url)
        finally:
            await runner.cleanup()
            gateway.security.guard.audit.close()
    await cluster.stop()
