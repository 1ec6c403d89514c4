"""The gRPC server: its port, its limits, and how every call ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc

from edgesmith_runtime.errors import RequestError
from edgesmith_runtime.extensions import REFUSED_CALLS
from edgesmith_runtime.rpc.codes import code_of, sentence_of
from edgesmith_runtime.rpc.health import HealthMethods, asked_service
from edgesmith_runtime.rpc.methods import InferenceMethods
from edgesmith_runtime.rpc.reflection import NAMES as REFLECTION
from edgesmith_runtime.rpc.reflection import ReflectionMethods
from edgesmith_runtime.rpc.streams import Streams
from edgesmith_runtime.rpc.watchers import Watchers

if TYPE_CHECKING:
    from edgesmith_runtime.rpc.intake import Intake
    from edgesmith_runtime.service import Service

__all__ = ["GrpcServer"]

_log: Final = logging.getLogger(__name__)

Method = Callable[[bytes, grpc.ServicerContext], bytes]

_INFERENCE: Final = "inference.GRPCInferenceService"
_HEALTH: Final = "grpc.health.v1.Health"

_OPTIONS: Final = {
    "grpc.so_reuseport": 0,
    # What the client takes is the client's affair.
    "grpc.max_send_message_length": -1,
    "grpc.max_allowed_incoming_connections": 1024,
    # One connection cannot take all calls.
    "grpc.max_concurrent_streams": 64,
    "grpc.max_connection_idle_ms": 300_000,
    # A client that vanished is noticed; one behind NAT may keep its way open with pings as often as it wants.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_ping_strikes": 0,
}


class GrpcServer:
    """Serves the protocol. Each call has a thread, since gRPC's server of that kind is the one that no bytes can end.

    Those who watch the server's health have none, since they stay.

    Args:
        service: The model and the server's state.
        intake: Receives messages.
        message_limit: The longest message in bytes.
        calls: The most calls at once; further ones end with RESOURCE_EXHAUSTED.
    """

    def __init__(self, service: Service, intake: Intake, *, message_limit: int, calls: int) -> None:
        self._service = service
        self._intake = intake
        self._lock = threading.Lock()
        self._calls = 0
        options = _OPTIONS | {"grpc.max_receive_message_length": message_limit}
        threads = ThreadPoolExecutor(calls, thread_name_prefix="grpc")
        self._server = grpc.server(threads, options=list(options.items()), maximum_concurrent_rpcs=calls)
        methods, health = InferenceMethods(service), HealthMethods(service, (_INFERENCE,))
        self._add(
            _INFERENCE,
            {
                "ServerLive": ("health", methods.server_live),
                "ServerReady": ("health", methods.server_ready),
                "ModelReady": ("health", methods.model_ready),
                "ServerMetadata": ("metadata", methods.server_metadata),
                "ModelMetadata": ("metadata", methods.model_metadata),
                "ModelConfig": ("metadata", methods.model_config),
                "ModelStatistics": ("metadata", methods.model_statistics),
                "RepositoryIndex": ("metadata", methods.repository_index),
                "ModelInfer": ("infer", methods.model_infer),
            }
            | {name: ("other", methods.refused(name)) for name in REFUSED_CALLS},
        )
        self._streams = Streams()
        self._server.add_registered_method_handlers(_INFERENCE, {"ModelStreamInfer": self._streaming(methods)})
        self._watchers = Watchers(health.status)
        self._add(_HEALTH, {"Check": ("health", health.check)})
        self._server.add_registered_method_handlers(_HEALTH, {"Watch": self._watching()})
        reflect = partial(self._answers, ReflectionMethods().info)
        told: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(reflect)
        for name in REFLECTION:
            self._server.add_registered_method_handlers(name, {"ServerReflectionInfo": told})

    def start(self, address: str) -> int:
        """Start serving.

        Args:
            address: Where to listen, ``[::]:8001`` for example; port 0 for any free one.

        Returns:
            The port.

        Raises:
            OSError: The address or port cannot be had.
        """
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: {error}") from error
        self._server.start()
        return port

    def stop(self, grace: float) -> threading.Event:
        """Accept nothing more.

        Args:
            grace: Seconds that calls in flight may take; what is left then is cut off.

        Returns:
            What is set when every client has closed its connection.
        """
        self._watchers.stop()
        self._streams.stop()
        return self._server.stop(grace)

    def look(self) -> None:
        """Look after messages that arrive, streams and those who watch; call it several times a second."""
        self._intake.sweep()
        self._watchers.look()
        self._streams.look()

    @property
    def calls(self) -> int:
        """How many calls are in flight, those who watch among them."""
        return self._calls

    def _add(self, service: str, methods: dict[str, tuple[str, Method]]) -> None:
        handlers = {name: self._handler(*method) for name, method in methods.items()}
        self._server.add_registered_method_handlers(service, handlers)

    def _handler(self, operation: str, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            return self._answer(operation, method, requests, context)

        # As a stream of one message, which is the same on the wire: so the message is received when the intake says.
        return grpc.stream_unary_rpc_method_handler(answer)

    def _watching(self) -> grpc.RpcMethodHandler[bytes, bytes]:
        def watch(
            requests: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[bytes | None], None]
        ) -> None:
            with self._told("health", context):
                self._watchers.add(asked_service(self._intake.take(requests, context)), context, send)

        # A call of a handler with this mark goes on when it returns; gRPC's own health service is made so, too:
        # https://github.com/grpc/grpc/blob/master/src/python/grpcio_health_checking/grpc_health/v1/health.py
        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(watch)

    def _streaming(self, methods: InferenceMethods) -> grpc.RpcMethodHandler[bytes, bytes]:
        def stream(
            requests: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[bytes | None], None]
        ) -> None:
            with self._told("other", context):
                goes_on = self._streams.run(
                    self._intake.stream(requests, context), methods.stream(context), context, send
                )
            if goes_on:
                send(None)

        # As above: a stream that waits for its next request is ended from another thread.
        stream.experimental_non_blocking = True  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(stream)

    def _answer(
        self, operation: str, method: Method, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> bytes:
        """Answer a call of one message."""
        with self._told(operation, context):
            return method(self._intake.take(requests, context), context)
        raise AssertionError("abort returned")

    def _answers(self, method: Method, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer each message of a call."""
        with self._told("metadata", context):
            for message in self._intake.each(requests, context):
                yield method(message, context)

    @contextmanager
    def _told(self, operation: str, context: grpc.ServicerContext) -> Iterator[None]:
        """Count a call, and turn errors into gRPC's."""
        if context.add_callback(self._ended):
            with self._lock:
                self._calls += 1
        code, sentence = grpc.StatusCode.OK, ""
        try:
            yield
        except RequestError as error:
            code, sentence = code_of(error), sentence_of(error)
        except (CancelledError, grpc.RpcError):
            code = grpc.StatusCode.CANCELLED
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets a code and the log the traceback
            _log.exception("call failed unexpectedly")
            code, sentence = grpc.StatusCode.INTERNAL, "the server failed; its log says where"
        active, ended = context.is_active(), context.code()  # type: ignore[attr-defined] # its stubs forget it
        if not active:
            code = ended or grpc.StatusCode.CANCELLED
        self._service.metrics.add("edgesmith_requests_total", "grpc", operation, code.name)
        if code is grpc.StatusCode.OK or (not active and ended is not None):
            return  # what was ended from another thread must not be ended again: its place would never be given back
        if code is grpc.StatusCode.INTERNAL:
            _log.warning("inference failed: %s", sentence)
        context.abort(code, sentence)

    def _ended(self) -> None:
        with self._lock:
            self._calls -= 1
