"""Tries a quantised form: it is made, asked for one answer as the device will, and kept if it gives one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import machine_failed
from edgesmith_runtime.engine import load_engine


def why_not(make: Callable[[Path], object], samples: Samples | None, target: Path) -> Exception | None:
    """Why a form does not work; None where it does, and then it is the target.

    Args:
        make: Writes it to a file.
        samples: One of them is asked; None: it is only loaded.
        target: Where a form that works is put.

    Raises:
        Exception: where the machine failed (`failures.machine_failed`).
    """
    trial = target.with_name("trial.onnx")
    try:
        make(trial)
        _answers_one(trial, samples)
    # The quantiser raises whatever comes up inside it, without a base class of its own.
    except Exception as error:
        if machine_failed(error):
            raise
        return error
    trial.replace(target)
    return None


def _answers_one(file: Path, samples: Samples | None) -> None:
    engine = load_engine("onnxruntime", file, threads=1)
    try:
        if samples is not None:
            engine.infer(samples.feed(0))
    finally:
        engine.close()
