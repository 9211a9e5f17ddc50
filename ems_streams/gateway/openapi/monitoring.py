"""What is said of the routes that every process of the system has; their handlers know nothing of gateways."""

from typing import Final

from ems_streams.gateway.answers.operation import HealthView
from ems_streams.gateway.openapi.describe import Description, Says
from ems_streams.gateway.openapi.words import OPERATION

_HEALTH: Final = "[health](../howto/health.md)"
_VERSION: Final = ("EMS-Version",)


def _probe(summary: str) -> Description:
    answers = {200: Says("It is well.", (HealthView,), headers=_VERSION), 503: Says("It is not.", (HealthView,), headers=_VERSION)}
    return Description(summary, OPERATION, answers, more=_HEALTH, public=True, checked=False)


MONITORING: Final = {
    "/livez": _probe("whether a restart would help"),
    "/readyz": _probe("whether all that it needs is there"),
    "/startupz": _probe("whether it has started"),
    "/metrics": Description(
        "metrics in Prometheus' text format",
        OPERATION,
        {200: Says("The metrics.", media_type="text/plain")},
        more="[metrics](metrics.md)",
        checked=False,
    ),
}
"""By path."""
