"""The Open Inference Protocol's calls: a message in, a message out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from google.protobuf.json_format import ParseDict

from edgesmith_runtime.codec.grpc import decode_request, encode_answer, parse, split_request
from edgesmith_runtime.errors import NotFound
from edgesmith_runtime.modelconfig import model_config
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.service import EXTENSIONS, SERVER_NAME, Service
from edgesmith_runtime.signature import VERSION
from edgesmith_runtime.version import VERSION as SERVER_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["InferenceMethods"]


class InferenceMethods:
    """Answers the calls of ``inference.GRPCInferenceService``.

    Args:
        service: The model and the server's state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def server_live(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Say whether the process does its work."""
        parse(messages.ServerLiveRequest, message)
        return messages.ServerLiveResponse(live=self._service.live).SerializeToString()

    def server_ready(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Say whether the model is served."""
        parse(messages.ServerReadyRequest, message)
        return messages.ServerReadyResponse(ready=self._service.ready).SerializeToString()

    def model_ready(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Say whether a model is served; one that is not known is not."""
        request = parse(messages.ModelReadyRequest, message)
        try:
            ready = self._service.model_ready(request.name, request.version)
        except NotFound:
            ready = False
        return messages.ModelReadyResponse(ready=ready).SerializeToString()

    def server_metadata(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Say who serves."""
        parse(messages.ServerMetadataRequest, message)
        answer = messages.ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS)
        return answer.SerializeToString()

    def model_metadata(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Describe a model's inputs and outputs."""
        request = parse(messages.ModelMetadataRequest, message)
        signature = self._service.model(request.name, request.version).signature
        answer = messages.ModelMetadataResponse(
            name=signature.name,
            versions=[VERSION],
            platform=signature.platform,
            inputs=_tensors(signature.inputs.values()),
            outputs=_tensors(signature.outputs.values()),
        )
        return answer.SerializeToString()

    def model_config(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Describe a model as Triton's tools read it."""
        request = parse(messages.ModelConfigRequest, message)
        config = model_config(self._service.model(request.name, request.version).signature)
        return ParseDict({"config": config}, messages.ModelConfigResponse()).SerializeToString()

    def model_infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Run the model once."""
        start = time.perf_counter()
        request, raw = split_request(message)
        model = self._service.model(request.model_name, request.model_version)

        def job(busy: bool) -> bytes:  # noqa: FBT001 - the queue calls it
            asked = decode_request(model.signature, request, raw)
            return encode_answer(model.signature, asked, self._service.run(model, asked, busy=busy))

        try:
            future = self._service.queue(job)

            def leave() -> None:
                future.cancel()  # a request that waits goes; one that runs keeps its place to the end

            if not context.add_callback(leave):
                leave()
            return future.result()
        finally:
            taken = time.perf_counter() - start
            self._service.metrics.observe("edgesmith_request_duration_seconds", "grpc", value=taken)


def _tensors(specs: Iterable[TensorSpec]) -> list[messages.ModelMetadataResponse.TensorMetadata]:
    return [
        messages.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in specs
    ]
