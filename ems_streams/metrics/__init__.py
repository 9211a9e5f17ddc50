"""Every metric of EMS Streams, in the manner of a closed list: what is not defined in one of these modules is not exported.

`docs/reference/metrics.md` is written from it, and rules and dashboards in `docker/` are checked against it.
"""

from ems_streams.metrics import alarms, commands, dependencies, everywhere, gateway, ingress, notifier, sink, worker
from ems_streams.metrics.model import DEFINITIONS, EVERYWHERE, LABEL_VALUES, Definition, Kind, Label, Process

__all__ = [
    "DEFINITIONS",
    "EVERYWHERE",
    "LABEL_VALUES",
    "Definition",
    "Kind",
    "Label",
    "Process",
    "alarms",
    "commands",
    "dependencies",
    "everywhere",
    "gateway",
    "ingress",
    "notifier",
    "sink",
    "worker",
]
