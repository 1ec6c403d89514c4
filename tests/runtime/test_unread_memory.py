"""The memory of a server whose answers over gRPC nobody reads: no more than it says, as the kernel counts it."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as services

from edgesmith_runtime.device import peak_memory
from tests.runtime.http2 import DATA, PREFACE, SETTINGS, frame
from tests.runtime.test_slow_readers import LEAVE, began

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

ANSWER: Final = 8 * 2**20
"""Bytes of one, which are more than a client's socket and the server's take."""
PENDING: Final = 32
"""MiB that may wait: half of it for one client, and the answer that goes beyond that."""
MADE: Final = 2 * ANSWER
"""What one takes that is being made and may be refused: the model's tensor, and the message that it is copied into."""
CLIENTS: Final = 40
"""All their answers together are 320 MiB."""
OWN: Final = 2**17
"""Bytes that a connection takes besides: a frame that is read, and what the allocator keeps of what it got back."""
PATIENCE: Final = 60.0
RESET_PEAK: Final = "5"
"""What `clear_refs` takes for it (proc_pid_clear_refs(5))."""

REQUEST: Final = messages.ModelInferRequest(
    model_name="wide",
    inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 1]}],
    raw_input_contents=[np.ones(1, np.float32).tobytes()],
)


@pytest.mark.parametrize("leave", [frame(SETTINGS, 0, 0, b""), LEAVE], ids=["no leave for more", "leave for all"])
def test_answers_that_nobody_reads_take_no_more_memory_than_may_wait(
    leave: bytes, wide: Bundle, start_server: StartServer
) -> None:
    few = ("--max-pending-mib", str(PENDING), "--max-body-mib", "1", "--threads", "1", "--max-batch", "1")
    server = start_server(wide.folder, *few)
    Path(f"/proc/{server.process.pid}/clear_refs").write_text(RESET_PEAK)  # forgets what the start took
    read_one(server)
    before = peak_memory(server.process.pid)
    message = REQUEST.SerializeToString()
    asked = began(1, b"/inference.GRPCInferenceService/ModelInfer")
    asked += frame(DATA, 1, 1, b"\0" + len(message).to_bytes(4, "big") + message)
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            client = clients.enter_context(closing(socket.socket()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(("127.0.0.1", server.grpc))
            client.sendall(PREFACE + leave + asked)
        end = time.monotonic() + PATIENCE
        while sum(ended := answers(server)) < CLIENTS + 1:
            assert time.monotonic() < end, f"some are not answered: {ended}"
        grown = peak_memory(server.process.pid) - before
    assert ended[0] > 1, "some wait"
    assert grown <= PENDING * 2**20 + MADE + CLIENTS * OWN
    assert server.stop() == 0


def read_one(server: Server) -> None:
    """Have one answer, all of it: what is taken for making it is no answer that waits."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}", [("grpc.max_receive_message_length", -1)]) as channel:
        answer = services.GRPCInferenceServiceStub(channel).ModelInfer(REQUEST, timeout=PATIENCE)
    assert len(answer.raw_output_contents[0]) == ANSWER


def answers(server: Server) -> tuple[int, int]:
    """How many there were, and how many were refused for lack of memory."""
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=20)) as connection:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    found = [0, 0]
    for at, code in enumerate(("OK", "UNAVAILABLE")):
        start = f'edgesmith_requests_total{{protocol="grpc",operation="infer",code="{code}"}} '
        found[at] = sum(int(float(line.removeprefix(start))) for line in page.splitlines() if line.startswith(start))
    return found[0], found[1]
