"""TensorRT, as Triton's ONNX Runtime backend is told to use it.

https://github.com/triton-inference-server/onnxruntime_backend, "ONNX Runtime with TensorRT optimization", has the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.triton.textproto import Word, pairs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle

__all__ = ["CPU", "GPU", "TENSORRT", "accelerated", "accelerator"]

ACCELERATOR: Final = "accelerator"
"""The option of a bundle that names what is to run it in the place of the processor."""
TENSORRT: Final = "tensorrt"

_DLA: Final = "dlaCore"
_NO_DLA: Final = "none"
_MODES: Final = {"fp16": "FP16", "fp32": "FP32", "int8": "INT8"}
"""What TensorRT 10 and older may compute in besides fp32; TensorRT 11 goes by the number types of the model alone."""


def accelerated(bundle: Bundle) -> bool:
    """Say whether a bundle is for TensorRT.

    Raises:
        EngineError: It is for something else that this server does not have, or has options that it does not know.
    """
    if unknown := sorted(set(bundle.options) - {ACCELERATOR, _DLA}):
        name = unknown[0]
        raise EngineError(
            f"option {name!r} is {bundle.options[name]!r}, which this server does not know; expected one of "
            f"{ACCELERATOR}, {_DLA}"
        )
    wanted = bundle.options.get(ACCELERATOR)
    if wanted not in {None, TENSORRT}:
        raise EngineError(f"option {ACCELERATOR!r} is {wanted!r}; expected {TENSORRT}, or none for the processor")
    if wanted == TENSORRT and bundle.precision not in _MODES:
        raise EngineError(f"precision is {bundle.precision!r}; expected one of {', '.join(_MODES)} for TensorRT")
    return wanted == TENSORRT


def accelerator(
    bundle: Bundle, *, shapes: Mapping[str, tuple[int, ...]], max_batch: int, cache: Path
) -> dict[str, Any]:
    """Say how TensorRT runs a bundle.

    Args:
        bundle: One for which `accelerated` holds.
        shapes: Each input's shape without a batch; all sizes known.
        max_batch: The largest batch; 0 where the model has none.
        cache: Where compiled engines are kept.

    Returns:
        The field ``optimization`` of the model's configuration.
    """
    said = {
        "precision_mode": _MODES[bundle.precision],
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
    }
    if max_batch:
        # One engine for every batch: without these, each batch larger than any before compiles the model anew.
        said |= {
            "trt_profile_min_shapes": _shapes(shapes, 1),
            "trt_profile_opt_shapes": _shapes(shapes, 1),
            "trt_profile_max_shapes": _shapes(shapes, max_batch),
        }
    if (core := bundle.options.get(_DLA, _NO_DLA)) != _NO_DLA:
        said |= {"trt_dla_enable": "1", "trt_dla_core": core}
    one = {"name": TENSORRT, "parameters": pairs(said)}
    return {"execution_accelerators": {"gpu_execution_accelerator": [one]}}


def _shapes(shapes: Mapping[str, tuple[int, ...]], batch: int) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, (batch, *shape)))}" for name, shape in shapes.items())


GPU: Final = Word("KIND_GPU")
"""Where there is none, Triton refuses the model; any other kind would quietly run it on the processor."""
CPU: Final = Word("KIND_CPU")
