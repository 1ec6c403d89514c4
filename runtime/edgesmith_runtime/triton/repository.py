"""A bundle as a Triton model repository: a configuration, and the bundle's own folder as version 1.

https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md describes the layout,
``model_configuration.md`` beside it the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.loading import has_batch
from edgesmith_runtime.modelconfig import model_config
from edgesmith_runtime.signature import VERSION, ModelSignature
from edgesmith_runtime.tensors import ANY_SIZE, shape_text
from edgesmith_runtime.triton.accelerator import CPU, GPU, accelerated, accelerator
from edgesmith_runtime.triton.textproto import Word, pairs, text

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.golden import Golden

__all__ = ["CONFIG", "Fitting", "config_text", "repository_files", "write_repository"]

CONFIG: Final = "config.pbtxt"
_ENGINE: Final = "onnxruntime"
"""The engine whose models Triton's backend of the same name serves."""
_LABELS: Final = "labels.txt"
_AXES: Final = 2


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a device adds to a bundle.

    Attributes:
        threads: How many cores to compute with.
        max_batch: The largest batch that a request may have.
        cache: Where compiled engines are kept.
    """

    threads: int
    max_batch: int
    cache: Path


def write_repository(bundle: Bundle, golden: Golden, fitting: Fitting, folder: Path) -> Path:
    """Write a repository of one model; the model's bytes stay where they are.

    Args:
        bundle: The model.
        golden: Its golden samples.
        fitting: What the device adds.
        folder: Where to write; made where it is missing, and what an earlier start left there is replaced.

    Returns:
        The folder, which tritonserver reads with ``--model-repository``.

    Raises:
        EngineError: Triton cannot serve such a bundle.
        OSError: The folder cannot be written.
    """
    texts = repository_files(bundle, golden, fitting)
    model = folder / bundle.model
    model.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        (model / name).write_text(content)
    version = model / VERSION
    version.unlink(missing_ok=True)
    version.symlink_to(bundle.folder.absolute(), target_is_directory=True)
    return folder


def repository_files(bundle: Bundle, golden: Golden, fitting: Fitting) -> dict[str, str]:
    """Write what lies beside a model's versions: names and contents.

    Args:
        bundle: The model.
        golden: Its golden samples.
        fitting: What the device adds.

    Raises:
        EngineError: Triton cannot serve such a bundle.
    """
    files = {CONFIG: config_text(bundle, golden, fitting)}
    if bundle.labels:
        files[_LABELS] = "".join(f"{label}\n" for label in bundle.labels)
    return files


def config_text(bundle: Bundle, golden: Golden, fitting: Fitting) -> str:
    """Write a model's ``config.pbtxt``.

    Args:
        bundle: The model.
        golden: Its golden samples, which say which inputs have a batch.
        fitting: What the device adds.

    Raises:
        EngineError: Triton cannot serve such a bundle.
    """
    if bundle.engine != _ENGINE:
        raise EngineError(f"the bundle is for engine {bundle.engine!r}; expected {_ENGINE} to serve it with Triton")
    for spec in (*bundle.inputs, *bundle.outputs):
        if spec.datatype == "BF16":
            raise EngineError(f"{spec.name!r} is BF16; expected another datatype to serve it with Triton")
    on_gpu = accelerated(bundle)
    # Triton has no tensor without an axis beside its batch; such models get no batch of Triton's.
    flat = any(len(spec.shape) < _AXES for spec in (*bundle.inputs, *bundle.outputs))
    batched = () if flat else (spec.name for spec in bundle.inputs if has_batch(spec, golden))
    batches = dict.fromkeys(batched, fitting.max_batch)
    config = model_config(ModelSignature.of(bundle, batches))
    max_batch: int = config["max_batch_size"]
    for tensor in (*config["input"], *config["output"]):
        if not tensor["dims"]:
            raise EngineError(
                f"{tensor['name']!r} is a single number without an axis; expected at least one for Triton"
            )
        tensor["data_type"] = Word(tensor["data_type"])
    if bundle.labels:
        for tensor in config["output"]:
            if tensor["dims"][-1:] == [len(bundle.labels)]:
                tensor["label_filename"] = _LABELS
    config |= {
        "default_model_filename": bundle.file,
        # By itself Triton makes two on a processor, each with a copy of the weights.
        "instance_group": [{"kind": GPU if on_gpu else CPU, "count": 1}],
        "parameters": pairs(
            {
                "intra_op_thread_count": {"string_value": str(fitting.threads)},
                "inter_op_thread_count": {"string_value": "1"},
            }
        ),
        "model_warmup": _warm_up(config, golden, max_batch),
    }
    if on_gpu:
        shapes = {tensor["name"]: _known(tensor) for tensor in config["input"]}
        config["optimization"] = accelerator(bundle, shapes=shapes, max_batch=max_batch, cache=fitting.cache)
    return text(config)


def _known(tensor: dict[str, Any]) -> tuple[int, ...]:
    shape = tuple(tensor["dims"])
    if ANY_SIZE in shape:
        raise EngineError(
            f"input {tensor['name']!r} has sizes {shape_text(shape)} beside its batch; expected known ones for "
            "TensorRT, which compiles a model for its sizes"
        )
    return shape


def _warm_up(config: dict[str, Any], golden: Golden, max_batch: int) -> list[dict[str, Any]]:
    """The smallest and the largest batch, of zeros in the golden samples' shape; Triton is ready after them."""
    inputs = {}
    for tensor in config["input"]:
        sample = golden.inputs[tensor["name"]].shape[1:]
        dims = [1] * (len(tensor["dims"]) - len(sample)) + list(sample)
        inputs[tensor["name"]] = {"data_type": tensor["data_type"], "dims": dims, "zero_data": True}
    return [
        {"name": f"batch of {batch}" if batch else "sample", "batch_size": batch, "inputs": pairs(inputs)}
        for batch in sorted({min(1, max_batch), max_batch})
    ]
