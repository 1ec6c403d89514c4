"""What an ONNX model answers where other kernels compute it, as on another processor or a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgesmith_builder.dataset import Samples
from edgesmith_builder.score.asking import Answer
from edgesmith_runtime.engine.onnxruntime import session_options


def with_other_kernels(model: Path, samples: Samples, *, fused: bool = True) -> list[Answer] | None:
    """What a model answers when ONNX Runtime may not choose layouts for this processor.

    Convolutions then take the general kernels that other processors use, which sum in another order. Measured over the
    examples between processors: no difference at all in int8, 5e-7 of the range in fp32.

    Args:
        model: The model's file.
        samples: What to ask, one at a time.
        fused: Whether quantised layers compute in whole numbers; otherwise in fp32 between numbers that are rounded to
            steps of 8 bits, so that some fall on the next step.

    Returns:
        The answers, or None where it does not run that way.
    """
    options, levels = session_options(1), ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if fused else levels.ORT_DISABLE_ALL
    try:
        session: Any = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_outputs()]
        return [dict(zip(names, session.run(names, samples.feed(index)), strict=True)) for index in range(len(samples))]
    # ONNX Runtime's own errors share no base class of their own.
    except Exception:  # noqa: BLE001 - that this way is not open says nothing about the model
        return None
