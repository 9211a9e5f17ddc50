"""metrics.md: every metric, by process, from `ems_streams/metrics`."""

from ems_streams.metrics import DEFINITIONS, EVERYWHERE, LABEL_VALUES, Definition, Process

INTRODUCTION = """\
# Metrics

`GET /metrics` of every process, in Prometheus' text format, on the port of its health endpoints. A histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`. A
process exports its own metrics only. Dashboards, alert rules and a scrape configuration are in `docker/`; [what to do about an alert](../runbook.md#alerts).

"""


def page() -> str:
    """All metrics in Markdown, by process, and what bounds each label."""
    parts = [INTRODUCTION, _metrics_of("Of every process", [each for each in DEFINITIONS if each.processes == EVERYWHERE])]
    for process in Process:
        own = [each for each in DEFINITIONS if process in each.processes and each.processes != EVERYWHERE]
        parts.append(_metrics_of(f"{process.capitalize()}", own))
    rows = "".join(f"| `{label}` | {values} |\n" for label, values in LABEL_VALUES.items())
    parts.append(
        f"## Labels\n\nNone names a device, so that there are as many series as a deployment has parts.\n\n| label | values |\n|---|---|\n{rows}"
    )
    return "".join(parts)


def _metrics_of(title: str, definitions: list[Definition]) -> str:
    rows = "".join(
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |\n" for each in definitions
    )
    return f"## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}\n"
