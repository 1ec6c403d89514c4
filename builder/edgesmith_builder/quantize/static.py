"""Static quantisation by ONNX Runtime: QDQ form, the number types that the request names.

The same model, samples and settings give the same bytes: samples are taken in order and one at a time, calibration
runs on one thread without graph optimisation, and ranges are made stable (see `ranges`). What calibration does not
decide comes from the weights alone, element by element, and is exact.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.calibrate import (
    TensorData,
    TensorsData,
    create_calibrator,
    save_tensors_data,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from edgesmith_builder.contract import Quantization
from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize.prepare import prepare
from edgesmith_builder.quantize.ranges import stable

_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


class QuantizationFailed(Exception):  # noqa: N818 - an outcome of the ladder, turned into a sentence there
    """ONNX Runtime could not quantise the model; the message says what it said."""


def quantize(source: Path, samples: Samples, settings: Quantization, folder: Path) -> Path:
    """Make the int8 form of a model.

    Args:
        source: The fp32 model.
        samples: What to calibrate with.
        settings: Number types.
        folder: An empty folder to work in.

    Returns:
        The quantised model's file in `folder`.

    Raises:
        QuantizationFailed: where it cannot be done.
    """
    ready, cache, target = folder / "ready.onnx", folder / "ranges.json", folder / "int8.onnx"
    try:
        with _quiet():
            prepare(source, ready, folder)
            _calibrate(ready, samples, cache, folder)
            quantize_static(
                str(ready),
                str(target),
                quant_format=QuantFormat.QDQ,
                # Sorted, since ONNX Runtime's own default is a set's order, which differs from run to run.
                op_types_to_quantize=_op_types(),
                per_channel=settings.per_channel,
                reduce_range=settings.reduce_range,
                activation_type=_TYPES[settings.activations],
                weight_type=_TYPES[settings.weights],
                calibrate_method=CalibrationMethod.MinMax,
                calibration_cache_path=cache,
            )
    # ONNX Runtime and its quantiser raise whatever comes up inside them, without a base class of their own.
    except Exception as error:
        if isinstance(error, OSError):
            raise
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise QuantizationFailed(words[:300]) from error
    ready.unlink()
    return target


def _op_types() -> list[str]:
    return sorted({*QLinearOpsRegistry, *QDQRegistry})


def _calibrate(model: Path, samples: Samples, cache: Path, folder: Path) -> None:
    """Write the stable range of every tensor to where `quantize_static` looks for it."""
    augmented = folder / "augmented.onnx"
    calibrator = create_calibrator(
        model, _op_types(), augmented_model_path=str(augmented), calibrate_method=CalibrationMethod.MinMax
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    calibrator.infer_session = ort.InferenceSession(str(augmented), options, providers=["CPUExecutionProvider"])
    calibrator.collect_data(_Reader(samples))
    ranges = {name: _stable_data(data) for name, data in sorted(calibrator.compute_data().items())}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), cache)
    augmented.unlink()


def _stable_data(data: Any) -> Any:
    lowest, highest = data.range_value
    low, high = stable(float(np.min(lowest)), float(np.max(highest)))
    return TensorData(lowest=np.array(low, dtype=np.float32), highest=np.array(high, dtype=np.float32))


class _Reader:
    """Samples the way ONNX Runtime's calibrator asks for them: one at a time, in order, then None."""

    def __init__(self, samples: Samples) -> None:
        self._feeds = (feed for _, feed in samples.feeds(1))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantiser logs advice through the root logger; ours has the last word on what is logged."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
