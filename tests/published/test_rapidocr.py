"""RapidOCR: one network finds text on a page, another reads it; both served, and what was drawn is what is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from answering import Asked, asking
from pages import Network, Page, characters, line, lines_of, page, plates, read, scaled
from wheels import rapidocr

DETECTOR, READER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
INPUT, OUTPUT = "x", "fetch_name_0"
WIDTH = 320


def bare(name: str) -> Network:
    """A network without us."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(rapidocr(name)), options, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run([OUTPUT], {INPUT: pictures})[0]


def served(ask: Asked) -> Network:
    return lambda pictures: ask({INPUT: pictures})[OUTPUT]


def said(image: Page, detect: Network, reader: Network, known: list[str]) -> list[str]:
    """What stands on a page, line by line."""
    return [read(reader(line(piece)[None]), known) for piece in lines_of(image, detect)]


async def test_what_is_drawn_is_read_in_int8_as_by_the_models_themselves(workshop: Any, start_server: Any) -> None:
    known, detect, reader = characters(rapidocr(READER)), bare(DETECTOR), bare(READER)
    taught = [page(lines, seed) for seed, lines in enumerate(plates(6, 2))]
    drawn = plates(5, 1)
    images = [page(lines, 100 + seed) for seed, lines in enumerate(drawn)]
    assert [said(image, detect, reader, known) for image in images] == drawn

    pictures = {
        DETECTOR: np.stack([scaled(image) for image in taught]),
        READER: np.stack([line(piece, WIDTH) for image in taught for piece in lines_of(image, detect)]),
    }
    servers = {}
    for name, calibration in pictures.items():
        report, bundle = await workshop.make(rapidocr(name), {INPUT: calibration}, precisions=("int8",))
        assert report.candidates[0].agreement is not None
        assert report.candidates[0].agreement > 0.85
        servers[name] = start_server(bundle)

    with (
        asking(servers[DETECTOR], "published", "http") as where,
        asking(servers[READER], "published", "grpc") as what,
    ):
        told = [said(image, served(where), served(what), known) for image in images]
    wrong = [
        (ours, theirs)
        for page_, text in zip(told, drawn, strict=True)
        for ours, theirs in zip(page_, text, strict=True)
        if ours != theirs
    ]
    assert len(wrong) <= 1, wrong
