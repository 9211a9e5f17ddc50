"""Metrics that every process has: what it is, what it uses, and what its health endpoints say."""

from typing import Final

from prometheus_client import ProcessCollector

from ems_streams.metrics.garbage import COLLECTIONS, TEXT, GarbageCollector
from ems_streams.metrics.model import DEFINITIONS, EVERYWHERE, Definition, Kind, Label

BUILD_INFO: Final = DEFINITIONS.gauge("ems_build_info", "1; which release runs, on which Python", EVERYWHERE, Label.VERSION, Label.PYTHON)

ENDPOINT_OK: Final = DEFINITIONS.gauge("ems_endpoint_ok", "1 while a health endpoint answers 200, 0 while 503", EVERYWHERE, Label.ENDPOINT)
CHECK_OK: Final = DEFINITIONS.gauge(
    "ems_health_check_ok", "1 while a named check of a health endpoint is good, otherwise 0", EVERYWHERE, Label.ENDPOINT, Label.CHECK
)
CHECK_SECONDS: Final = DEFINITIONS.gauge(
    "ems_health_check_state_seconds", "For how long a named check has been as it is", EVERYWHERE, Label.ENDPOINT, Label.CHECK
)
LOOP_LAG: Final = DEFINITIONS.histogram(
    "ems_event_loop_lag_seconds",
    "How much later than asked for a timer ran, twice a second: what everything in the process waits for the rest of it",
    EVERYWHERE,
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

PROCESS: Final = ProcessCollector(namespace="ems", registry=None)

for _name, _kind, _text in (
    ("ems_process_cpu_seconds_total", Kind.COUNTER, "Processor time used, of user and system"),
    ("ems_process_resident_memory_bytes", Kind.GAUGE, "Memory in RAM"),
    ("ems_process_virtual_memory_bytes", Kind.GAUGE, "Address space"),
    ("ems_process_open_fds", Kind.GAUGE, "Open file descriptors"),
    ("ems_process_max_fds", Kind.GAUGE, "How many it may have"),
    ("ems_process_start_time_seconds", Kind.GAUGE, "When it was started, in seconds since 1970"),
):
    DEFINITIONS.add(Definition(_name, _kind, _text, EVERYWHERE, (), PROCESS))

DEFINITIONS.add(Definition(COLLECTIONS, Kind.COUNTER, TEXT, EVERYWHERE, (Label.GENERATION,), GarbageCollector()))
