"""Weights of seven and of eight bits: signal to noise and time, where this machine's processor stands between them.

    PYTHONPATH=bench python bench/bits.py

Prints a table of the examples' models and MobileNetV2's layers: decibels against fp32 over the evaluation set, and
milliseconds of processor time for one sample on one thread, the best of nine rounds. Decision 5 rests on it.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from mobilenet import SHAPE, mobilenet

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import Quantization, quantize
from edgesmith_runtime.engine.onnxruntime import session_options
from edgesmith_runtime.engine.saturation import products_saturate

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS, ROUNDS, MOST = 0.1, 9, 400


def models(folder: Path) -> dict[str, tuple[Path, str, Any, Any]]:
    """Each model with its input's name, what to calibrate with and what to compare on."""
    found: dict[str, tuple[Path, str, Any, Any]] = {}
    for example in ("digits", "surface-inspection"):
        sets = [np.load(EXAMPLES / example / f"{kind}.npz")["image"] for kind in ("calibration", "evaluation")]
        for file in sorted((EXAMPLES / example).glob("*.onnx")):
            found[f"{example}/{file.name}"] = (file, "image", sets[0], sets[1][:MOST])
    mobilenet(folder / "mobilenet.onnx")
    random = np.random.default_rng(0).normal(size=(16, *SHAPE[1:])).astype(np.float32)
    found["mobilenet"] = (folder / "mobilenet.onnx", "input", random[:8], random[8:])
    return found


def forms(source: Path, name: str, calibration: Any, folder: Path) -> dict[str, Path]:
    """The model as it is and with weights of seven and eight bits."""
    made = {"fp32": source}
    for bits, reduced in (("7 bits", True), ("8 bits", False)):
        work = Path(tempfile.mkdtemp(dir=folder))
        samples = Samples({name: calibration}, {name: calibration.ndim}, batches=True)
        made[bits] = quantize(source, samples, Quantization(reduce_range=reduced), work)
    return made


def milliseconds(session: Any, feed: dict[str, Any]) -> float:
    """Processor time of one run; the mean over some."""
    runs, start = 0, time.process_time()
    while time.process_time() - start < SECONDS:
        session.run(None, feed)
        runs += 1
    return (time.process_time() - start) / runs * 1000


def main() -> None:
    """Print the table."""
    sys.stdout.write(f"products of bytes saturate here: {products_saturate()}\n")
    sys.stdout.write("| model | | ms | decibels |\n| --- | --- | --- | --- |\n")
    with tempfile.TemporaryDirectory() as scratch:
        for model, (file, name, calibration, inputs) in models(Path(scratch)).items():
            sessions = {
                form: ort.InferenceSession(str(path), session_options(1), providers=["CPUExecutionProvider"])
                for form, path in forms(file, name, calibration, Path(scratch)).items()
            }
            feeds = [{name: inputs[i : i + 1]} for i in range(len(inputs))]
            answers = {
                form: np.concatenate([session.run(None, feed)[0] for feed in feeds]).astype(np.float64)
                for form, session in sessions.items()
            }
            best = dict.fromkeys(sessions, math.inf)
            for _ in range(ROUNDS):
                for form, session in sessions.items():
                    best[form] = min(best[form], milliseconds(session, feeds[0]))
            for form, took in best.items():
                noise = float(((answers["fp32"] - answers[form]) ** 2).mean())
                clean = f"{10 * math.log10(float((answers['fp32'] ** 2).mean()) / noise):.1f}" if noise else ""
                sys.stdout.write(f"| {model} | {form} | {took:.3f} | {clean} |\n")


if __name__ == "__main__":
    main()
