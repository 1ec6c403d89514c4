"""A stand-in for Triton's ONNX Runtime backend: the same model repositories, run by onnxruntime's Python package.

Triton takes a folder of its backends that holds ``model.py`` for a backend of that name
(https://github.com/triton-inference-server/backend/blob/main/docs/python_based_backends.md). Of a model's configuration
it heeds the threads and the kind of its instance. On a GPU it computes with ONNX Runtime's CUDA provider, in the types
that the model's graph has; TensorRT, which the configuration asks for, it does not have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

_FATAL_ONLY = 4
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class TritonPythonModel:
    """One instance of a model; Triton calls its methods by name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model."""
        config = json.loads(args["model_config"])
        said = {name: value["string_value"] for name, value in config["parameters"].items()}
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(said["intra_op_thread_count"])
        options.inter_op_num_threads = int(said["inter_op_thread_count"])
        options.log_severity_level = _FATAL_ONLY
        file = Path(args["model_repository"]) / args["model_version"] / config["default_model_filename"]
        gpu = args["model_instance_kind"] == "GPU"
        self.session = ort.InferenceSession(str(file), options, providers=_providers(args) if gpu else [_CPU])
        # By itself ONNX Runtime computes on the processor where CUDA cannot be loaded.
        if gpu and _CUDA not in self.session.get_providers():
            raise RuntimeError(f"ONNX Runtime has {', '.join(self.session.get_providers())}; {_CUDA} was expected")
        self.outputs = [output["name"] for output in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by a run of its own."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            names = [name for name in self.outputs if name in request.requested_output_names()]
            answers = self.session.run(names, {one.name(): _array(one) for one in request.inputs()})
            tensors = [pb_utils.Tensor(name, np.asarray(one)) for name, one in zip(names, answers, strict=True)]
            return pb_utils.InferenceResponse(output_tensors=tensors)
        # ONNX Runtime's own errors share no base class of their own.
        except Exception as error:  # noqa: BLE001 - the client is to see it
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))


def _providers(args: dict[str, str]) -> list[Any]:
    ort.preload_dlls()  # CUDA and cuDNN, where they lie beside as Python packages
    return [(_CUDA, {"device_id": args["model_instance_device_id"]}), _CPU]


def _array(tensor: Any) -> Any:
    """Text arrives as bytes, and ONNX Runtime takes text."""
    array = tensor.as_numpy()
    if array.dtype.kind == "O":
        return np.array([item.decode() for item in array.ravel()], dtype=object).reshape(array.shape)
    return array
