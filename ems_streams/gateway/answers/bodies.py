"""What is read of bodies where less is asked for than the model of what is made of it has."""

from datetime import UTC, datetime

from pydantic import ConfigDict, Field

from ems_streams.domain.events import Time
from ems_streams.domain.maintenance import MaintenanceWindow, WindowId, WindowText


class MaintenanceWindowBody(MaintenanceWindow):
    """A maintenance window to be set; at least one of `devices`, `sites` and `deviceTypes` is expected.

    Attributes:
        starts_at: From when on; now, when it is not given.
    """

    model_config = ConfigDict(extra="forbid")

    window_id: WindowId = Field(default_factory=str)
    starts_at: Time = Field(default_factory=lambda: datetime.now(UTC))
    reason: WindowText = "maintenance"
    created_by: WindowText = "api"
