"""A model's configuration in the form that Triton's tools read.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgesmith_runtime.tensors import ANY_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesmith_runtime.signature import ModelSignature
    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["model_config"]


def model_config(signature: ModelSignature) -> dict[str, Any]:
    """Describe a model.

    Args:
        signature: What it accepts and answers.

    Returns:
        The fields of Triton's ``ModelConfig`` by name. ``max_batch_size`` is 0 where some input or output has no batch;
        otherwise ``dims`` are without it.
    """
    batched = set(signature.inputs) <= set(signature.batches)
    batched = batched and all(spec.shape[:1] == (ANY_SIZE,) for spec in signature.outputs.values())
    return {
        "name": signature.name,
        "platform": signature.platform,
        "backend": signature.platform.partition("_")[0],
        "max_batch_size": min(signature.batches.values(), default=0) if batched else 0,
        "input": _tensors(signature.inputs.values(), batched=batched),
        "output": _tensors(signature.outputs.values(), batched=batched),
    }


def _tensors(specs: Iterable[TensorSpec], *, batched: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "data_type": "TYPE_" + {"BYTES": "STRING"}.get(spec.datatype, spec.datatype),
            "dims": list(spec.shape[1:] if batched else spec.shape),
        }
        for spec in specs
    ]
