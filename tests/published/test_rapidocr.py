"""RapidOCR: one network finds text on a page, another reads it; both served, and what was drawn is what is read."""

from __future__ import annotations

from typing import Any

import pytest
from answering import asking
from cases import ANSWER, DETECTOR, PICTURE, READER, Asked, bare, text_detector, text_reader
from pages import Network, Page, characters, line, lines_of, page, plates, read
from wheels import rapidocr


def network(ask: Asked) -> Network:
    return lambda pictures: ask({PICTURE: pictures})[ANSWER]


def said(image: Page, detect: Network, reader: Network, known: list[str]) -> list[str]:
    """What stands on a page, line by line."""
    return [read(reader(line(piece)[None]), known) for piece in lines_of(image, detect)]


@pytest.mark.long
async def test_what_is_drawn_is_read_in_int8_as_by_the_models_themselves(workshop: Any, start_server: Any) -> None:
    known = characters(rapidocr(READER))
    drawn = plates(5, 1)
    images = [page(lines, 100 + seed) for seed, lines in enumerate(drawn)]
    themselves = network(bare(rapidocr(DETECTOR))), network(bare(rapidocr(READER)))
    assert [said(image, *themselves, known) for image in images] == drawn

    servers = []
    for case in (text_detector(), text_reader()):
        made = await workshop.make(case, precisions=("int8",))
        assert made.report.candidates[0].agreement > 0.85
        servers.append(start_server(made.bundle, "--name", "published"))
    with asking(servers[0], "published", "http") as where, asking(servers[1], "published", "grpc") as what:
        told = [said(image, network(where), network(what), known) for image in images]
    pairs = [pair for lines in zip(told, drawn, strict=True) for pair in zip(*lines, strict=True)]
    assert sum(ours != theirs for ours, theirs in pairs) <= 1, pairs
