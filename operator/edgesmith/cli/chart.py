"""A scatter of a few named points, as SVG in a page of its own or as PNG; both from the same marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import NamedTuple

WIDTH, HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 180, 50, 60
_RADIUS = 6
_TICKS = 5
_ROOM = 0.15
"""Of the points' range, beyond them on each side."""
_INK, _GRID, _CHOSEN, _OTHER = "#222222", "#dddddd", "#0b6e4f", "#8a8a8a"
_SERIES = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#999933", "#882255")
"""Colours that people with any colour vision can tell apart: P. Tol, "Colour Schemes", SRON/EPS/TN/09-002, bright and
muted."""


class Point(NamedTuple):
    """One candidate."""

    x: float
    y: float
    name: str
    chosen: bool
    series: str = ""
    """What it has in common with others; where there are several, each has a colour."""


class Line(NamedTuple):
    """A line, in pixels from the top left."""

    x1: float
    y1: float
    x2: float
    y2: float


class Dot(NamedTuple):
    """A disc."""

    x: float
    y: float
    colour: str


class Text(NamedTuple):
    """Words, their middle line at `y`."""

    x: float
    y: float
    words: str
    anchor: str = "start"
    size: int = 13


@dataclass(frozen=True, slots=True)
class Chart:
    """What is to be drawn."""

    title: str
    x_name: str
    y_name: str
    points: Sequence[Point]

    def marks(self) -> Iterator[Line | Dot | Text]:
        """Everything that is drawn, in order."""
        xs = _range([point.x for point in self.points], least=0.0)
        ys = _range([point.y for point in self.points])
        yield Text(_LEFT, 25, self.title, size=16)
        yield Text(_LEFT, _TOP - 8, self.y_name)
        yield Text(WIDTH - _RIGHT, HEIGHT - 15, self.x_name, "end")
        for number in range(_TICKS):
            share = number / (_TICKS - 1)
            x, y = _x(share), _y(share)
            yield Line(x, _y(0), x, _y(1))
            yield Line(_x(0), y, _x(1), y)
            yield Text(x, HEIGHT - _BOTTOM + 16, f"{xs[0] + share * (xs[1] - xs[0]):.4g}", "middle")
            yield Text(_LEFT - 8, y, f"{ys[0] + share * (ys[1] - ys[0]):.4g}", "end")
        for point in self.points:
            x, y = _x(_share(point.x, xs)), _y(_share(point.y, ys))
            yield Dot(x, y, self._colour(point))
            yield Text(x + _RADIUS + 4, y, f"{point.name}{' (chosen)' if point.chosen else ''}")

    def _colour(self, point: Point) -> str:
        """By series where there are several, else by what was chosen."""
        series = list(dict.fromkeys(one.series for one in self.points))
        if len(series) > 1:
            return _SERIES[series.index(point.series) % len(_SERIES)]
        return _CHOSEN if point.chosen else _OTHER

    def svg(self) -> str:
        """The picture as an SVG element that needs nothing else."""
        body = "\n".join(_element(mark) for mark in self.marks())
        size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n{body}\n</svg>'

    def png(self) -> bytes:
        """The picture as a PNG file.

        Raises:
            ValueError: Pillow is not installed.
        """
        try:
            from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra of its own
        except ModuleNotFoundError:
            raise ValueError("--png needs Pillow; pip install pillow was expected") from None
        image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        draw = ImageDraw.Draw(image)
        for mark in self.marks():
            if isinstance(mark, Line):
                draw.line(tuple(mark), _GRID)
            elif isinstance(mark, Dot):
                draw.circle((mark.x, mark.y), _RADIUS, mark.colour)
            else:
                anchor = {"start": "lm", "middle": "mm", "end": "rm"}[mark.anchor]
                draw.text((mark.x, mark.y), mark.words, _INK, ImageFont.load_default(mark.size), anchor)
        drawn = BytesIO()
        image.save(drawn, "PNG")
        return drawn.getvalue()

    def page(self, table: Sequence[Sequence[str]]) -> str:
        """The picture and a table, whose first row is its header, as one HTML file that fetches nothing."""
        header, *rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in table)
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        style = "body{font-family:sans-serif;margin:2em}td{padding:.3em .8em;border-bottom:1px solid #ddd}"
        return (
            f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(self.title)}</title>\n'
            f"<style>{style}</style>\n{self.svg()}\n<table><thead><tr>{header}</tr></thead>\n"
            f"<tbody>{body}</tbody></table>\n</html>\n"
        )


def _element(mark: Line | Dot | Text) -> str:
    if isinstance(mark, Line):
        return f'<line x1="{mark.x1:.1f}" y1="{mark.y1:.1f}" x2="{mark.x2:.1f}" y2="{mark.y2:.1f}" stroke="{_GRID}"/>'
    if isinstance(mark, Dot):
        return f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="{_RADIUS}" fill="{mark.colour}"/>'
    place = f'x="{mark.x:.1f}" y="{mark.y:.1f}" text-anchor="{mark.anchor}" font-size="{mark.size}"'
    return f'<text {place} dominant-baseline="middle" fill="{_INK}">{escape(mark.words)}</text>'


def _range(values: Sequence[float], least: float | None = None) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
    low -= room
    return (low if least is None else max(low, least)), high + room


def _share(value: float, within: tuple[float, float]) -> float:
    return (value - within[0]) / (within[1] - within[0])


def _x(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)
