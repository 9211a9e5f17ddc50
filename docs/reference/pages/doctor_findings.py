"""doctor-findings.md: every kind of finding of `ems-streams doctor`, from `ems_streams/ops/doctor/kinds.py`."""

from ems_streams.ops.doctor.kinds import KINDS

INTRODUCTION = """\
# Findings of doctor

All that `ems-streams doctor` can find, from `ems_streams/ops/doctor/kinds.py`. [How to use it](../howto/doctor.md). What stands in braces is filled in.

| finding | severity | what it is | what to do |
|---|---|---|---|
"""


def page() -> str:
    """All kinds in Markdown."""
    rows = []
    for kind in KINDS.values():
        command = f": `{' '.join(kind.command)}`" if kind.command else ""
        rows.append(f"| `{kind.code}` | {kind.severity} | {kind.meaning} | {kind.advice}{command} |\n")
    return INTRODUCTION + "".join(rows)
