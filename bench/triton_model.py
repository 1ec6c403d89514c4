"""The model as Triton's Python backend runs it: the same file and the same settings of ONNX Runtime as ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime as ort
import triton_python_backend_utils as triton

from edgesmith_runtime.engine.onnxruntime import session_options


class TritonPythonModel:
    """What the backend looks for by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model beside this file."""
        threads = int(json.loads(args["model_config"])["parameters"]["threads"]["string_value"])
        model = Path(__file__).with_name("model.onnx")
        self.session = ort.InferenceSession(str(model), session_options(threads), providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        image = triton.get_input_tensor_by_name(request, "input").as_numpy()
        (output,) = self.session.run(["output"], {"input": image})
        return triton.InferenceResponse([triton.Tensor("output", output)])
