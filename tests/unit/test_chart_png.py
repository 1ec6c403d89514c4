"""What the PNG of `edgesmith report` shows: read back pixel by pixel, beside what the picture is to have."""

from __future__ import annotations

from io import BytesIO
from math import ceil, floor, hypot
from statistics import median

import pytest
from PIL import Image, ImageColor

from edgesmith.cli.chart import HEIGHT, WIDTH, Chart, Dot, Line, Point, Text

WHITE, INK, GRID, CHOSEN, OTHER = (ImageColor.getrgb(one) for one in ("white", "#222", "#ddd", "#0b6e4f", "#8a8a8a"))
POINTS = (Point(9.0, 97.1, "int8, pi", False), Point(3.0, 97.3, "fp32, pi", True))
CHART = Chart("Candidates of parts", "p95 latency in ms", "accuracy in %", POINTS)

Picture = dict[tuple[int, int], tuple[int, ...]]


@pytest.fixture(scope="module")
def picture() -> Picture:
    image = Image.open(BytesIO(CHART.png())).convert("RGB")
    assert image.size == (WIDTH, HEIGHT)
    return {(x, y): image.getpixel((x, y)) for x in range(WIDTH) for y in range(HEIGHT)}  # type: ignore[misc]


def middle(picture: Picture, colour: tuple[int, ...]) -> tuple[float, float]:
    """The middle of a disc of six pixels; the edges of letters may have its colour, too."""
    found = [place for place, one in picture.items() if one == colour]
    x, y = median(x for x, _ in found), median(y for _, y in found)
    disc = [place for place in found if hypot(place[0] - x, place[1] - y) <= 6.5]
    assert 100 < len(disc) < 140, f"{len(disc)} pixels"
    return x, y


def test_every_candidate_is_a_disc_in_its_place(picture: Picture) -> None:
    (chosen_x, chosen_y), (other_x, other_y) = middle(picture, CHOSEN), middle(picture, OTHER)
    assert chosen_x < other_x, "the faster one is on the left"
    assert chosen_y < other_y, "the more accurate one is above"
    dots = {mark.colour: mark for mark in CHART.marks() if isinstance(mark, Dot)}
    assert (chosen_x, chosen_y) == pytest.approx((dots["#0b6e4f"].x, dots["#0b6e4f"].y), abs=1)
    assert (other_x, other_y) == pytest.approx((dots["#8a8a8a"].x, dots["#8a8a8a"].y), abs=1)


def test_every_word_and_every_line_is_drawn_where_it_belongs(picture: Picture) -> None:
    texts = [mark for mark in CHART.marks() if isinstance(mark, Text)]
    assert {"Candidates of parts", "int8, pi", "fp32, pi (chosen)"} <= {mark.words for mark in texts}
    for mark in texts:
        wide = len(mark.words) * mark.size // 3
        left = int(mark.x) - {"start": 0, "middle": wide // 2, "end": wide}[mark.anchor]
        about = [(x, y) for x in range(left, left + wide) for y in range(int(mark.y) - 8, int(mark.y) + 8)]
        dark = sum(sum(picture[place]) < 300 for place in about)
        assert dark > 2 * len(mark.words), f"{mark.words!r} has {dark} dark pixels"
    for line in (one for one in CHART.marks() if isinstance(one, Line)):
        assert sum(_is_on_a_line(picture, line, share) for share in (0.1, 0.37, 0.9)) >= 2, line


def _is_on_a_line(picture: Picture, line: Line, share: float) -> bool:
    """Whether a line has its colour there, on either side of a place between two pixels."""
    x, y = line.x1 + (line.x2 - line.x1) * share, line.y1 + (line.y2 - line.y1) * share
    return GRID in (picture[floor(x), floor(y)], picture[ceil(x), ceil(y)])


def test_the_rest_is_empty(picture: Picture) -> None:
    white = sum(one == WHITE for one in picture.values())
    assert 0.9 < white / len(picture) < 0.99
    assert any(one == INK for one in picture.values())
