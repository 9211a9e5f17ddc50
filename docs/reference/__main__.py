"""Writes the pages of this directory that are made from the code: `make docs`."""

from pathlib import Path

from pages import (
    acls,
    alarm_lifecycle,
    builtin_rules,
    command_life,
    doctor_findings,
    http,
    http_access,
    metrics,
    settings,
    status_machine,
    topics,
)

PAGES = {
    "acls.md": acls.page,
    "alarm-lifecycle.md": alarm_lifecycle.page,
    "builtin-rules.md": builtin_rules.page,
    "command-life.md": command_life.page,
    "doctor-findings.md": doctor_findings.page,
    "http.md": http.page,
    "http-access.md": http_access.page,
    "metrics.md": metrics.page,
    "settings.md": settings.page,
    "status-machine.md": status_machine.page,
    "topics.md": topics.page,
}

if __name__ == "__main__":
    # All are made before any is written: a page that cannot be made leaves those that are there.
    for name, text in {name: page() for name, page in PAGES.items()}.items():
        (Path(__file__).parent / name).write_text(text)
