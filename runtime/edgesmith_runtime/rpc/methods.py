"""The Open Inference Protocol's calls: a message in, a message out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edgesmith_runtime.codec.grpc import decode_request, encode_answer, identity_of, parse, split_request
from edgesmith_runtime.codec.wire import prefix
from edgesmith_runtime.errors import NotFound, RequestError, Unsupported
from edgesmith_runtime.extensions import REFUSED, REFUSED_CALLS, model_statistics, repository_index
from edgesmith_runtime.inference import inference
from edgesmith_runtime.modelconfig import model_config
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.rpc.codes import Status, counted_as, sentence_of
from edgesmith_runtime.service import EXTENSIONS, SERVER_NAME, Service
from edgesmith_runtime.signature import VERSION
from edgesmith_runtime.version import VERSION as SERVER_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

    from edgesmith_runtime.rpc.call import Call
    from edgesmith_runtime.rpc.content import Content
    from edgesmith_runtime.signature import InferRequest
    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["InferenceMethods"]

M = TypeVar("M", bound="Message")

_INFER_RESPONSE: Final = messages.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER


class InferenceMethods:
    """Answers the calls of ``inference.GRPCInferenceService``.

    Args:
        service: The model and the server's state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def server_live(self, message: bytes | memoryview, _: Call) -> bytes:
        """Say whether the process does its work."""
        parse(messages.ServerLiveRequest, message)
        return messages.ServerLiveResponse(live=self._service.live).SerializeToString()

    def server_ready(self, message: bytes | memoryview, _: Call) -> bytes:
        """Say whether the model is served."""
        parse(messages.ServerReadyRequest, message)
        return messages.ServerReadyResponse(ready=self._service.ready).SerializeToString()

    def model_ready(self, message: bytes | memoryview, _: Call) -> bytes:
        """Say whether a model is served; one that is not known is not."""
        request = parse(messages.ModelReadyRequest, message)
        try:
            ready = self._service.model_ready(request.name, request.version)
        except NotFound:
            ready = False
        return messages.ModelReadyResponse(ready=ready).SerializeToString()

    def server_metadata(self, message: bytes | memoryview, _: Call) -> bytes:
        """Say who serves."""
        parse(messages.ServerMetadataRequest, message)
        answer = messages.ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS)
        return answer.SerializeToString()

    def model_metadata(self, message: bytes | memoryview, _: Call) -> bytes:
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

    def model_config(self, message: bytes | memoryview, _: Call) -> bytes:
        """Describe a model as Triton's tools read it."""
        request = parse(messages.ModelConfigRequest, message)
        config = model_config(self._service.model(request.name, request.version).signature)
        return _filled({"config": config}, messages.ModelConfigResponse()).SerializeToString()

    def model_statistics(self, message: bytes | memoryview, _: Call) -> bytes:
        """Tell how many inferences there were and what they took."""
        request = parse(messages.ModelStatisticsRequest, message)
        found = model_statistics(self._service, request.name or None, request.version)
        return _filled(found, messages.ModelStatisticsResponse()).SerializeToString()

    def repository_index(self, message: bytes | memoryview, _: Call) -> bytes:
        """List the models there are."""
        request = parse(messages.RepositoryIndexRequest, message)
        models = repository_index(self._service, request.repository_name, ready=request.ready)
        return _filled({"models": models}, messages.RepositoryIndexResponse()).SerializeToString()

    def refused(self, call: str) -> Callable[[bytes | memoryview, Call], bytes]:
        """What answers a call of `REFUSED_CALLS`."""

        def answer(_message: bytes | memoryview, _call: Call) -> bytes:
            raise Unsupported(REFUSED[REFUSED_CALLS[call]])

        return answer

    def model_infer(self, content: Content) -> asyncio.Future[bytes]:
        """Run the model once."""
        return self._infer(_Asked(content))

    def model_stream_infer(self, content: Content) -> asyncio.Future[bytes]:
        """Answer a request of a call of ``ModelStreamInfer``; one that fails is answered with its error.

        One that could not be inflated, or was refused before it was, ends its call: nobody knows what it is called.
        """
        return asyncio.ensure_future(self._streamed(_Asked(content)))

    async def _streamed(self, asked: _Asked) -> bytes:
        code = Status.CANCELLED.name
        try:
            answered = await self._infer(asked, final=True)
            code = Status.OK.name
            return prefix(_INFER_RESPONSE, len(answered)) + answered
        except RequestError as error:
            code = counted_as(error)
            if (identity := asked.identity) is None:
                raise
            response = messages.ModelStreamInferResponse(error_message=sentence_of(error))
            response.infer_response.id = identity
            return response.SerializeToString()
        finally:
            self._service.metrics.add("edgesmith_requests_total", "grpc", "infer", code)

    def _infer(self, asked: _Asked, *, final: bool = False) -> asyncio.Future[bytes]:
        start = time.perf_counter()
        model = self._service.model()

        def decode() -> InferRequest:
            request, raw = asked.read()
            self._service.model(request.model_name, request.model_version)
            return decode_request(model.signature, request, raw)

        job = inference(
            self._service,
            model,
            since=start,
            decode=decode,
            encode=lambda request, answers: encode_answer(model.signature, request, answers, final=final),
        )

        def note(_: asyncio.Future[bytes]) -> None:
            taken = time.perf_counter() - start
            self._service.metrics.observe("edgesmith_request_duration_seconds", "grpc", value=taken)

        future = self._service.submit(job, asked.size)
        future.add_done_callback(note)
        return future


class _Asked:
    """A request for the model to be run.

    Args:
        content: The message that it came in.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self.size = content.size
        """How many bytes the message has, where that is known."""
        self._identity: str | None = None

    @property
    def identity(self) -> str | None:
        """What its client calls it; None where that is not known, since it came compressed and was not inflated."""
        if self._identity is None and self._content.encoding is None:
            self._identity = identity_of(self._content.data)
        return self._identity

    def read(self) -> tuple[messages.ModelInferRequest, list[memoryview]]:
        """Read it but for its raw tensors, and find these.

        Raises:
            RequestError: It is no request.
        """
        data = self._content.read()
        self._identity = ""
        request, raw = split_request(data)
        self._identity = request.id
        return request, raw


def _filled(document: dict[str, Any], message: M) -> M:
    """Fill a message with what a document says."""
    # Imported here: most servers are never asked for what this is for, and it takes 1.5 MB.
    from google.protobuf.json_format import ParseDict  # noqa: PLC0415 - see above

    return ParseDict(document, message)


def _tensors(specs: Iterable[TensorSpec]) -> list[messages.ModelMetadataResponse.TensorMetadata]:
    return [
        messages.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in specs
    ]
