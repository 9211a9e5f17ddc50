"""The plot of `make soak`: a panel for each quantity, a line for each process, as SVG."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.soak_samples import PIPELINE, Key, Series

_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000, 210, 80, 210, 30, 24
_COLOURS = (
    "#1f7a4d",
    "#5b7fa6",
    "#b5651d",
    "#7a3b8f",
    "#c23b4a",
    "#2a9d8f",
    "#666666",
    "#d4a017",
    "#3d5a80",
    "#8a5a44",
    "#111111",
    "#e07a9f",
)
_POINTS_MAX = 500


def plot(series: Series, duration_s: float, ours: Sequence[str], title: str) -> str:
    """All panels, one below the other; the second half of the load, which is judged, has a grey ground."""
    servers = [who for who in series.whose("RSS MiB") if who not in ours]
    lags = [(PIPELINE, what) for what in series.named(PIPELINE) if what.startswith("lag ")]
    panels: list[tuple[str, list[Key]]] = [
        ("RSS of our processes, MiB", [(who, "RSS MiB") for who in ours]),
        ("RSS of servers, simulator and this program, MiB", [(who, "RSS MiB") for who in servers]),
        ("open file handles", [(who, "handles") for who in ours]),
        ("threads", [(who, "threads") for who in ours]),
        ("cores", [(who, "cores") for who in (*ours, *servers)]),
        ("lag, records", lags),
        ("waiting", [(PIPELINE, what) for what in ("MQTT backlog", "buffered in ingress", "uncommitted states", "open deliveries")]),
        ("local stores on disk, MiB", [(who, "store MiB") for who in series.whose("store MiB")]),
    ]
    drawn = [(name, [key for key in keys if series.points.get(key)]) for name, keys in panels]
    drawn = [(name, keys) for name, keys in drawn if keys]
    height = 40 + _PANEL * len(drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="16" y="26" font-size="16">{escape(title)}</text>',
    ]
    for place, (name, keys) in enumerate(drawn):
        parts += _panel(series, name, keys, 40 + place * _PANEL, duration_s)
    return "\n".join((*parts, "</svg>")) + "\n"


def _panel(series: Series, name: str, keys: Sequence[Key], top: int, duration_s: float) -> list[str]:
    highest = max(value for key in keys for _, value in series.points[key]) or 1.0
    end_s = max(duration_s, *(series.points[key][-1][0] for key in keys))
    bottom, right = top + _PANEL - _BOTTOM, _WIDTH - _RIGHT
    wide, high = right - _LEFT, bottom - top - _TOP
    middle = _LEFT + duration_s / 2 / end_s * wide
    ground = (
        f'<rect x="{middle:.1f}" y="{top + _TOP}" width="{_LEFT + duration_s / end_s * wide - middle:.1f}" height="{high}" fill="#f2f2f2"/>'
    )
    parts = [ground, f'<text x="{_LEFT}" y="{top + 20}" font-weight="bold">{escape(name)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * high
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{highest * share:,.4g}</text>')
    for share in (0.0, 0.5, 1.0):
        x = _LEFT + share * wide
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{end_s * share / 60:.1f} min</text>')
    for order, key in enumerate(keys):
        colour = _COLOURS[order % len(_COLOURS)]
        points = series.points[key]
        points = points[:: max(1, len(points) // _POINTS_MAX)]
        path = " ".join(f"{_LEFT + at_s / end_s * wide:.1f},{bottom - value / highest * high:.1f}" for at_s, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        label = key[1].removeprefix("lag ") if key[0] == PIPELINE else key[0]
        parts.append(f'<text x="{right + 8}" y="{top + _TOP + 10 + order * 14}" fill="{colour}">{escape(label)}</text>')
    return parts
