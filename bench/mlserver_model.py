"""The model as MLServer runs it: the same file and the same settings of ONNX Runtime as ours."""

from __future__ import annotations

import onnxruntime as ort
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]

from edgesmith_runtime.engine.onnxruntime import session_options


class OnnxModel(MLModel):  # type: ignore[misc]
    """A custom inference runtime, as MLServer calls it."""

    async def load(self) -> bool:
        """Load the model."""
        uri, threads = self.settings.parameters.uri, self.settings.parameters.extra["threads"]
        self.session = ort.InferenceSession(uri, session_options(threads), providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request."""
        image = NumpyCodec.decode_input(payload.inputs[0])
        (output,) = self.session.run(["output"], {"input": image})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", output)])
