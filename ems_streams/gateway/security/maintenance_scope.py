"""Maintenance windows of whoever may see some sites only: what of a window concerns them, and which are theirs to change."""

from collections.abc import Callable

from ems_streams.access.roles import Principal
from ems_streams.domain.maintenance import MaintenanceWindow
from ems_streams.ops.http import ProblemError

SiteOf = Callable[[str], int | None]


def seen_by(principal: Principal, window: MaintenanceWindow, site_of: SiteOf) -> MaintenanceWindow | None:
    """A window without the sites and devices of others; None when it concerns none of theirs."""
    if principal.sites is None:
        return window
    sites = tuple(site for site in window.sites if principal.may_see(site))
    devices = tuple(serial for serial in window.devices if principal.may_see(site_of(serial)))
    if not (sites or devices or window.device_types):
        return None
    return window.model_copy(update={"sites": sites, "devices": devices})


def is_own(principal: Principal, window: MaintenanceWindow, site_of: SiteOf) -> bool:
    """Whether a window concerns their sites only; one of a type of devices concerns every site."""
    return principal.sites is None or (seen_by(principal, window, site_of) == window and not window.device_types)


def check_own(principal: Principal, window: MaintenanceWindow, site_of: SiteOf) -> None:
    """Raises a problem of 403 that names what is not theirs, whether it exists or not."""
    if principal.sites is None:
        return
    if window.device_types:
        raise _denied(f"deviceTypes={list(window.device_types)}: devices of every site are of a type; name sites or devices")
    for site in window.sites:
        if not principal.may_see(site):
            raise _denied(f"sites={site}: the token is not for this site")
    for serial in window.devices:
        if not principal.may_see(site_of(serial)):
            raise _denied(f"devices={serial!r}: there is no such device at the sites of the token")


def _denied(detail: str) -> ProblemError:
    return ProblemError(403, "Not allowed", detail)
