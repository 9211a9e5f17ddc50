"""What the gateway needs to take commands: the registry, to check them by, and a way onto `device-commands`."""

import asyncio
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from ems_streams.domain.command_events import CancelRequest, CommandRequest
from ems_streams.domain.registry import RegistryEntry
from ems_streams.errors import TopicsMissingError
from ems_streams.kafka.catalogue import DEVICE_COMMANDS
from ems_streams.kafka.outbox import KafkaOutbox, Record
from ems_streams.kafka.registry import RegistryView
from ems_streams.ops.health import CheckResult
from ems_streams.ops.http import ProblemError
from ems_streams.settings import Settings

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT_S: Final = 5.0
TRY_AGAIN_S: Final = 5.0


class CommandDesk:
    """Knows every device, and publishes what is asked of one; answers 503 until Kafka is there."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._new()

    def _new(self) -> None:
        self._registry = RegistryView(self._settings)
        self._outbox = KafkaOutbox(self._settings, (DEVICE_COMMANDS,), client_id="ems-gateway-commands")
        self._ready = False
        self._trouble = "connecting"

    async def run(self) -> None:
        """Runs until cancelled; topics that are missing are looked for again and again."""
        while True:
            try:
                await asyncio.gather(self._outbox.start(), self._registry.start())
                self._ready = True
                await asyncio.Event().wait()
            except (TopicsMissingError, KafkaError, OSError) as error:
                self._trouble = str(error) or repr(error)
                log.warning("commands_not_ready", reason=self._trouble)
            finally:
                self._ready = False
                await asyncio.gather(self._outbox.stop(), self._registry.stop(), return_exceptions=True)
            trouble = self._trouble
            self._new()
            self._trouble = trouble
            await asyncio.sleep(TRY_AGAIN_S)

    def check(self) -> CheckResult:
        """Whether commands can be taken."""
        if not self._ready:
            return CheckResult(False, self._trouble)
        taken, detail = self._outbox.check()
        return CheckResult(taken, f"{len(self._registry)} devices" if taken else detail)

    def device(self, serial_number: str) -> RegistryEntry:
        """The registry's entry; a problem of 404 when there is none, of 503 while the registry is being read."""
        if not self._ready:
            raise self._reading()
        entry = self._registry.get(serial_number)
        if entry is None:
            raise ProblemError(404, "No such device", f"The registry has no device {serial_number!r}.", serialNumber=serial_number)
        return entry

    def site_of(self, serial_number: str) -> int | None:
        """Site of a device, None for one that is not registered; a problem of 503 while the registry is being read."""
        if not self._registry.caught_up:
            raise self._reading()
        entry = self._registry.get(serial_number)
        return None if entry is None else entry.site_id

    def knows_nothing_of(self, serial_number: str) -> bool:
        """Whether it is certain that there is no such device."""
        return self._ready and self._registry.get(serial_number) is None

    def _reading(self) -> ProblemError:
        return ProblemError(503, "Not ready for commands", f"The registry is being read: {self._trouble}.", headers={"Retry-After": "2"})

    def name_of(self, serial_number: str) -> str | None:
        """What people call a device, as the registry has it; None when it has no name, or is not known here yet."""
        entry = self._registry.get(serial_number) if self._ready else None
        return None if entry is None else entry.name

    async def publish(self, request: CommandRequest | CancelRequest) -> None:
        """Return when Kafka has it; otherwise a problem of 503, after which it may or may not be there: the same request again does no harm."""
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._outbox.deliver([Record(DEVICE_COMMANDS, request.key, request.encode())])
        except TimeoutError:
            detail = (
                "Kafka has not acknowledged the request in time; it may be there all the same. Ask again with the same Idempotency-Key."
            )
            raise ProblemError(503, "Kafka does not answer", detail, headers={"Retry-After": "5"}, commandId=request.command_id) from None
