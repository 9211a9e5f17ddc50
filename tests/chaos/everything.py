"""All five kinds of processes with a load, a channel and its receiver, as most deployments have them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.harness import System, put_load
from tests.support.notifier import PATIENT, channels_file, hook, secrets
from tests.support.receivers import Webhook, webhook

EVERYBODY = ("ingress-0", "worker-0", "worker-1", "sink-0", "notifier-0", "gateway")


@contextmanager
def everything(system: System, directory: Path) -> Iterator[Webhook]:
    """200 messages a second of 50 devices, to the end; gives the receiver of the channel `ops`."""
    deployment = system.deployment
    with webhook() as receiver:
        channels = channels_file(directory, {"ops": hook(receiver.url, start="now", retry=PATIENT)})
        system.add("sink-0", deployment.sink)
        system.add("notifier-0", lambda: deployment.notifier(channels, **secrets()))
        system.add("gateway", deployment.gateway)
        system.start(ingresses=1, workers=2)
        load = put_load(system, devices=50, messages=0, rate=200)
        try:
            yield receiver
        finally:
            load.process.kill()
