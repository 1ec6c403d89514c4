"""Clients that ask over and over: blocking sockets and channels that send what was prepared."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_LONGEST = 64 * 2**20


def http_request(image: NDArray[Any], model: str = "mobilenet") -> bytes:
    """Prepare one whole request for a model whose only input is called so."""
    shape, parameters = list(image.shape), {"binary_data_size": image.nbytes}
    tensor = {"name": "input", "datatype": "FP32", "shape": shape, "parameters": parameters}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: bench\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(text) + image.nbytes}\r\n\r\n"
    )
    return head.encode() + text + image.tobytes()


def over_http(port: int, request: bytes) -> Callable[[], bytes]:
    """Connect a client; what is returned asks once and gives back the answer's body."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(65536))

    def ask() -> bytes:
        connection.sendall(request)
        filled, wanted = 0, len(buffer)
        while filled < wanted:
            count = connection.recv_into(buffer[filled:])
            if not count:
                raise SystemExit("the server closed the connection")
            filled += count
            if wanted == len(buffer):
                head, _, _ = bytes(buffer[:filled]).partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r")[0])
                wanted = len(head) + 4 + length
        if bytes(buffer[:12]) != b"HTTP/1.1 200":
            raise SystemExit(bytes(buffer[:filled]).decode(errors="replace"))
        return bytes(buffer[wanted - length : wanted])

    return ask


def grpc_request(image: NDArray[Any], model: str = "mobilenet") -> bytes:
    """Prepare one message for a model whose only input is called so."""
    tensor = messages.ModelInferRequest.InferInputTensor(name="input", datatype="FP32", shape=image.shape)
    request = messages.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[image.tobytes()])
    message: bytes = request.SerializeToString()
    return message


def over_grpc(port: int, request: bytes) -> Callable[[], bytes]:
    """Connect a client with a connection of its own; what is returned asks once and gives back the message."""
    options = [("grpc.max_receive_message_length", _LONGEST), ("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer", request_serializer=bytes, response_deserializer=bytes
    )

    return lambda: call(request)


def http_scores(body: bytes) -> NDArray[np.float32]:
    """The scores in an answer over HTTP: the bytes behind its text, which names their number of each output."""
    text, _ = json.JSONDecoder().raw_decode(body.decode(errors="replace"))
    (output,) = text["outputs"]
    return np.frombuffer(body[len(body) - output["parameters"]["binary_data_size"] :], np.float32)


def grpc_scores(message: bytes) -> NDArray[np.float32]:
    """The scores in an answer over gRPC."""
    (scores,) = messages.ModelInferResponse.FromString(message).raw_output_contents
    return np.frombuffer(scores, np.float32)


def timed(calls: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Call from one thread each, over and over; return how long every call took, in seconds."""
    taken: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds

    def loop(call: Callable[[], object], times: list[float]) -> None:
        start = time.perf_counter()
        while start < end:
            call()
            now = time.perf_counter()
            times.append(now - start)
            start = now

    threads = [threading.Thread(target=loop, args=pair) for pair in zip(calls, taken, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for times in taken for one in times]
