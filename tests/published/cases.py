"""Published models with sets that are made here: what they are calibrated with, and what they are scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from contents import files, said, taken
from numpy.typing import NDArray
from pages import line, lines_of, page, plates, scaled
from voices import RATE, Sound, frames, recording, spoken
from wheels import magika, rapidocr, silero, wheels

Arrays = Mapping[str, NDArray[Any]]
Asked = Callable[[Arrays], dict[str, NDArray[Any]]]
"""Asks a model, wherever it is, and returns its answers by name."""

DETECTOR, READER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
PICTURE, ANSWER = "x", "fetch_name_0"
"""What both networks of PaddleOCR take and answer."""

_WIDTH = 320
"""Of a line of text in the sets, pixels."""


@dataclass(frozen=True)
class Case:
    """A model and its sets."""

    model: Path
    calibration: Arrays
    evaluation: Arrays | None = None
    output: str | None = None
    """The one that is scored; None: the first."""

    @property
    def name(self) -> str:
        """The package and the file."""
        return f"{self.model.relative_to(wheels()).parts[0]}: {self.model.name}"


def bare(model: Path) -> Asked:
    """A model without us, on ONNX Runtime alone."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def heard(ask: Asked, sound: Sound, *, rate: bool) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Plays a recording to Silero VAD, piece by piece, each with the state that the one before left.

    Args:
        ask: The model.
        sound: The recording.
        rate: Whether the model is told how many samples a second has.

    Returns:
        How likely each piece is of speech, and all that was sent, a set as the builder takes it.
    """
    state, likely = np.zeros((2, 1, 128), np.float32), []
    sent: dict[str, list[NDArray[Any]]] = {name: [] for name in ("input", "state", *(["sr"] if rate else []))}
    for piece in frames(sound):
        inputs = {"input": piece[None], "state": state} | ({"sr": np.array(RATE, np.int64)} if rate else {})
        for name, array in inputs.items():
            sent[name].append(array[0] if name == "input" else array)
        answer = ask(inputs)
        state = answer["stateN"]
        likely.append(answer["output"].item())
    return np.array(likely, np.float32), {name: np.stack(arrays) for name, arrays in sent.items()}


def voice_detector(name: str) -> Case:
    """Silero VAD over the voices of three speakers: one to calibrate with, two to score on."""
    model, rate = silero(name), knows_rates(name)
    _, calibration = heard(bare(model), recording(1, pitch=110)[0], rate=rate)
    evaluation: list[Arrays] = []
    labels = []
    for seed, pitch in ((3, 140), (4, 220)):
        sound, voice = recording(seed, pitch=pitch)
        evaluation.append(heard(bare(model), sound, rate=rate)[1])
        labels.append(spoken(voice).astype(np.int64))
    together = {name: np.concatenate([part[name] for part in evaluation]) for name in calibration}
    return Case(model, calibration, {**together, "labels": np.concatenate(labels)}, "output")


def knows_rates(name: str) -> bool:
    """Whether a file of Silero VAD takes the sampling rate as an input."""
    return name not in {"silero_vad_openvino_16k.onnx", "silero_vad_half.onnx"}


def text_detector() -> Case:
    """PaddleOCR's network that finds text, over pages that are drawn; nobody says what is right for each pixel."""
    return Case(rapidocr(DETECTOR), {PICTURE: np.stack([scaled(one) for one in _taught()])})


def text_reader() -> Case:
    """PaddleOCR's network that reads a line, over the lines that its detector finds on the same pages."""
    ask = bare(rapidocr(DETECTOR))
    pieces = [piece for one in _taught() for piece in lines_of(one, lambda pictures: ask({PICTURE: pictures})[ANSWER])]
    return Case(rapidocr(READER), {PICTURE: np.stack([line(piece, _WIDTH) for piece in pieces])})


def file_kinds(folder: Path) -> tuple[Case, list[str], dict[str, tuple[str, float]]]:
    """Magika over a file of each kind to calibrate with, and another to score on, by what the package says.

    Args:
        folder: Where files may be written.

    Returns:
        The case; all kinds that the model knows; what the package says of each file, by its name: those to calibrate
        with and those to score on in turn.
    """
    written = files(folder)
    kinds, package = said(list(written))
    contents = np.stack([taken(path) for path in written])
    labels = np.array([kinds.index(kind) for kind, _ in package])
    evaluation = {"bytes": contents[1::2], "labels": labels[1::2]}
    names = (path.name for path in written)
    return Case(magika(), {"bytes": contents[::2]}, evaluation), kinds, dict(zip(names, package, strict=True))


def _taught() -> list[NDArray[np.uint8]]:
    return [page(lines, seed) for seed, lines in enumerate(plates(6, 2))]
