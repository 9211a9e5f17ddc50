"""Writes the pages of this directory that are made from the code, and the documents in `schemas`: `make docs`.

With `--release` the documents of now become those that later ones are compared with: done when a release is made.
"""

import sys
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

from ems_streams.cli.schema import documents

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
SCHEMAS = Path(__file__).parent / "schemas"
RELEASED = ("openapi.json", "asyncapi.json")


def write(release: bool) -> None:
    """Write everything; all is made before any is written: what cannot be made leaves those that are there."""
    texts = {Path(__file__).parent / name: page() for name, page in PAGES.items()}
    made = documents()
    texts |= {SCHEMAS / name: text for name, text in made.items()}
    if release:
        texts |= {SCHEMAS / "released" / name: made[name] for name in RELEASED}
        texts[SCHEMAS / "released" / "accepted-breaks.txt"] = ""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write("--release" in sys.argv[1:])
