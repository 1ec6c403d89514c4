"""Draws the chart's Grafana dashboard as SVG from what a Prometheus answers, for the documentation.

    python hack/draw_dashboard.py http://127.0.0.1:9090 docs/images/dashboard.svg [MINUTES]

Grafana itself draws it more finely; titles, places, queries and legends are those of the dashboard's file.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

import httpx

FILE: Final = Path(__file__).resolve().parents[1] / "charts/edgesmith/files/dashboard.json"
WIDTH: Final = 1440
COLUMN: Final = WIDTH / 24
UNIT: Final = 34
"""Pixels of one of Grafana's units of height."""
COLOURS: Final = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#37872d", "#5794f2")
STEPS: Final = 120

Panel = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """One line: its legend and its points, ``(seconds, value)``."""

    legend: str
    points: tuple[tuple[float, float], ...]


class Prometheus:
    """Where queries are answered."""

    def __init__(self, address: str, minutes: float) -> None:
        """Ask at an address, for the last minutes."""
        self._address, self._end = address.rstrip("/"), time.time()
        self.start, self.end = self._end - 60 * minutes, self._end

    def series(self, target: dict[str, str]) -> list[Series]:
        """The series of one query, with what its legend says of each."""
        found = self._ask("query_range", target, start=self.start, end=self.end, step=(self.end - self.start) / STEPS)
        return [
            Series(
                _legend(target.get("legendFormat", ""), one["metric"]),
                tuple((float(at), float(value)) for at, value in one["values"] if value != "NaN"),
            )
            for one in found
        ]

    def table(self, target: dict[str, str]) -> list[dict[str, str]]:
        """The labels of each series of a query as it is now."""
        return [one["metric"] for one in self._ask("query", target, time=self.end)]

    def _ask(self, what: str, target: dict[str, str], **asked: float) -> list[dict[str, Any]]:
        query = re.sub(r"\$(namespace|edgemodel|node)\b", ".*", target["expr"]).replace("$__rate_interval", "1m")
        answer = httpx.get(f"{self._address}/api/v1/{what}", params={"query": query, **asked}, timeout=30)
        answered: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
        return answered


def draw(prometheus: Prometheus) -> str:
    """The whole page."""
    panels: list[Panel] = json.loads(FILE.read_text())["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * UNIT + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#111217"/>',
    ]
    for panel in panels:
        place = panel["gridPos"]
        x, y = place["x"] * COLUMN + 4, place["y"] * UNIT + 4
        inside = _panel(panel, place["w"] * COLUMN - 8, place["h"] * UNIT - 8, prometheus)
        parts += [f'<g transform="translate({x:.0f} {y:.0f})">', *inside, "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, width: float, height: float, prometheus: Prometheus) -> list[str]:
    title = _text(10, 20, panel["title"], "#d8d9da", 13)
    if panel["type"] == "row":
        return [_text(4, 22, panel["title"], "#ffffff", 16)]
    box = f'<rect width="{width:.0f}" height="{height:.0f}" rx="3" fill="#181b1f" stroke="#2c3235"/>'
    if panel["type"] == "table":
        return [box, title, *_table(prometheus.table(panel["targets"][0]), panel, height)]
    series = [one for target in panel["targets"] for one in prometheus.series(target)]
    if panel["type"] == "stat":
        value = series[0].points[-1][1] if series and series[0].points else 0.0
        return [box, title, _text(width / 2, height / 2 + 24, _number(value, ""), "#73bf69", 40, anchor="middle")]
    return [box, title, *_lines(series, panel, width, height, prometheus)]


def _lines(series: list[Series], panel: Panel, width: float, height: float, prometheus: Prometheus) -> list[str]:
    left, top, right, bottom = 64.0, 34.0, width - 12, height - 44
    highest = max((value for one in series for _, value in one.points), default=0.0) or 1.0
    unit = panel["fieldConfig"]["defaults"]["unit"]
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        parts.append(f'<path d="M{left} {y:.0f}H{right:.0f}" stroke="#2c3235"/>')
        parts.append(_text(left - 6, y + 4, _number(share * highest, unit), "#9fa1a6", 11, anchor="end"))
    across = (right - left) / (prometheus.end - prometheus.start)
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        where = " ".join(
            f"{left + (at - prometheus.start) * across:.1f},{bottom - value / highest * (bottom - top):.1f}"
            for at, value in one.points
        )
        parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return parts + _legends(series, width, height)


def _legends(series: list[Series], width: float, height: float) -> list[str]:
    parts, x, y = [], 12.0, height - 24
    for number, one in enumerate(series):
        wide = 7.0 * len(one.legend) + 26
        if x + wide > width:
            x, y = 12.0, y + 16
        if y > height - 6:
            break
        parts.append(
            f'<rect x="{x:.0f}" y="{y - 4:.0f}" width="10" height="3" fill="{COLOURS[number % len(COLOURS)]}"/>'
        )
        parts.append(_text(x + 14, y, one.legend, "#c7d0d9", 11))
        x += wide
    return parts


def _table(rows: list[dict[str, str]], panel: Panel, height: float) -> list[str]:
    hidden = panel["transformations"][0]["options"]["excludeByName"]
    names = [name for name in (rows[0] if rows else {}) if name not in hidden]
    parts, y = [], 44.0
    for row in [dict(zip(names, names, strict=True)), *rows]:
        if y > height - 6:
            break
        colour = "#9fa1a6" if y == 44.0 else "#d8d9da"
        parts += [_text(10 + 92 * n, y, row.get(name, "")[:14], colour, 11) for n, name in enumerate(names[:5])]
        y += 18
    return parts


def _text(x: float, y: float, words: str, colour: str, size: int, *, anchor: str = "start") -> str:
    where = f'x="{x:.0f}" y="{y:.0f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}"'
    return f"<text {where}>{escape(words)}</text>"


def _legend(form: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), form).strip()


def _number(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.3g}" + {"reqps": "/s", "ops": "/s"}.get(unit, "")


def main(words: list[str]) -> None:
    """Draw it."""
    address, output, *minutes = words
    Path(output).write_text(draw(Prometheus(address, float(minutes[0]) if minutes else 5.0)))


if __name__ == "__main__":
    main(sys.argv[1:])
