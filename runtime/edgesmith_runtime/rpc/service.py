"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
import grpc.aio

from edgesmith_runtime.codec.grpc import decode_message, encode_message
from edgesmith_runtime.errors import AnswerFailed, BadRequest, NotFound, RequestError, Unavailable
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.protocol import inference_pb2_grpc as protocol
from edgesmith_runtime.service import EXTENSIONS, SERVER_NAME, Service
from edgesmith_runtime.signature import VERSION
from edgesmith_runtime.version import VERSION as SERVER_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["InferenceServicer", "start_grpc_server"]

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")
_Context = grpc.aio.ServicerContext[Any, Any]

_CODES: Final = {
    BadRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    AnswerFailed: grpc.StatusCode.INTERNAL,
}


class InferenceServicer(protocol.GRPCInferenceServiceServicer):
    """Answers calls; the names of its methods are the protocol's.

    Args:
        service: The model and the server's state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ServerLive(  # noqa: N802 - the protocol's name
        self, request: messages.ServerLiveRequest, context: _Context
    ) -> messages.ServerLiveResponse:
        """Say that the process answers."""
        del request
        return await self._call("health", context, lambda: messages.ServerLiveResponse(live=True))

    async def ServerReady(  # noqa: N802 - the protocol's name
        self, request: messages.ServerReadyRequest, context: _Context
    ) -> messages.ServerReadyResponse:
        """Say whether the model is served."""
        del request
        return await self._call("health", context, lambda: messages.ServerReadyResponse(ready=self._service.ready))

    async def ModelReady(  # noqa: N802 - the protocol's name
        self, request: messages.ModelReadyRequest, context: _Context
    ) -> messages.ModelReadyResponse:
        """Say whether a model is served."""
        return await self._call(
            "health",
            context,
            lambda: messages.ModelReadyResponse(ready=self._service.model_ready(request.name, request.version)),
        )

    async def ServerMetadata(  # noqa: N802 - the protocol's name
        self, request: messages.ServerMetadataRequest, context: _Context
    ) -> messages.ServerMetadataResponse:
        """Say who serves."""
        del request
        return await self._call(
            "metadata",
            context,
            lambda: messages.ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS),
        )

    async def ModelMetadata(  # noqa: N802 - the protocol's name
        self, request: messages.ModelMetadataRequest, context: _Context
    ) -> messages.ModelMetadataResponse:
        """Describe a model's inputs and outputs."""

        def describe() -> messages.ModelMetadataResponse:
            signature = self._service.model(request.name, request.version).signature
            return messages.ModelMetadataResponse(
                name=signature.name,
                versions=[VERSION],
                platform=signature.platform,
                inputs=_tensors(signature.inputs.values()),
                outputs=_tensors(signature.outputs.values()),
            )

        return await self._call("metadata", context, describe)

    async def ModelInfer(  # noqa: N802 - the protocol's name
        self, request: messages.ModelInferRequest, context: _Context
    ) -> messages.ModelInferResponse:
        """Run the model once."""
        start = time.perf_counter()

        def submit() -> Awaitable[messages.ModelInferResponse]:
            model = self._service.model(request.model_name, request.model_version)

            def job(busy: bool) -> messages.ModelInferResponse:  # noqa: FBT001 - the queue calls it
                asked = decode_message(model.signature, request)
                return encode_message(model.signature, asked, self._service.run(model, asked, busy=busy))

            return self._service.submit(job)

        try:
            return await self._call("infer", context, submit)
        finally:
            self._service.metrics.observe(
                "edgesmith_request_duration_seconds", "grpc", value=time.perf_counter() - start
            )

    async def _call(self, operation: str, context: _Context, answer: Callable[[], T | Awaitable[T]]) -> T:
        """Answer a call, count it, and turn errors into gRPC's."""
        code = grpc.StatusCode.OK
        message = ""
        try:
            result = answer()
            return await result if hasattr(result, "__await__") else result
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except RequestError as error:
            code, message = _CODES.get(type(error), grpc.StatusCode.RESOURCE_EXHAUSTED), str(error)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets a code and the log the traceback
            _log.exception("call failed unexpectedly")
            code, message = grpc.StatusCode.INTERNAL, "the server failed; its log says where"
        finally:
            self._service.metrics.add("edgesmith_requests_total", "grpc", operation, code.name)
        if code is grpc.StatusCode.INTERNAL:
            _log.warning("inference failed: %s", message)
        await context.abort(code, message)
        raise AssertionError("abort returned")


async def start_grpc_server(service: Service, address: str, *, message_limit: int, calls: int) -> tuple[Any, int]:
    """Start serving.

    Args:
        service: The model and the server's state.
        address: Where to listen, ``[::]:8001`` for example; port 0 for any free one.
        message_limit: The longest message in bytes, either way.
        calls: The most calls at once; further ones end with RESOURCE_EXHAUSTED.

    Returns:
        The server, which is stopped with its `stop`, and its port.

    Raises:
        OSError: The address or port cannot be had.
    """
    options = [
        ("grpc.max_receive_message_length", message_limit),
        ("grpc.max_send_message_length", message_limit),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=calls)
    protocol.add_GRPCInferenceServiceServicer_to_server(InferenceServicer(service), server)  # type: ignore[no-untyped-call] # the compiler writes no types
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from error
    await server.start()
    return server, port


def _tensors(specs: Iterable[TensorSpec]) -> list[messages.ModelMetadataResponse.TensorMetadata]:
    return [
        messages.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
        for spec in specs
    ]
