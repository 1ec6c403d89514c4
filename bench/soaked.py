"""What a soak serves, and what else is asked of it: as in the field, with all that watches switched on.

The bundle has a baseline for drift and takes pictures. The server takes samples, some ten thousand times as many as
usual, into a spool that is soon full, and reads of each request what drift is judged by.
"""

from __future__ import annotations

import gzip
import itertools
import random
import socket
import struct
import urllib.request
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np
from clients import grpc_request
from mobilenet import SHAPE
from serving import make_bundle

from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.picture import Classification, Picture, Pipeline, Recorded
from edgesmith_runtime.picture.golden import png_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["further", "options", "watched", "watched_bundle"]

_SEEN: Final = 60
"""Samples that the baseline is made of."""
_CYCLE: Final = 60
"""Seconds of a cycle of drift, so that it is judged again and again."""
_DAY_BYTES: Final = 200_000_000_000
_SPOOL_BYTES: Final = 5_000_000
_STREAM: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
_PICTURE: Final = Picture(
    input="input", layout="NCHW", width=SHAPE[3], height=SHAPE[2], resize="Crop", shorter_side=None, fill=0,
    interpolation="Bilinear", channels="RGB", scale=1 / 127.5, mean=(1.0,), deviation=(1.0,), labels=(),
    classification=Classification("output", "Softmax", 1.0, 5), detection=None,
)  # fmt: skip


def watched_bundle(folder: Path, threads: int) -> Path:
    """Make the bundle of `serving.make_bundle` with a baseline and a golden picture."""
    model = make_bundle(folder, threads) / "model.onnx"
    engine = load_engine("onnxruntime", model, threads=threads)
    images = np.random.default_rng(4).normal(size=(_SEEN, *SHAPE)).astype(np.float32)
    pairs = [({"input": image}, engine.infer({"input": image})) for image in images]
    baseline = baseline_of(pairs, {"input": 3}, seed="soak", classes=None)
    if baseline is None:
        raise SystemExit("the samples give no baseline")
    pixels = png_bytes(_pixels(300, 260))
    pipeline = Pipeline(_PICTURE, engine.inputs[0].datatype, ())
    prepared = pipeline.prepare(memoryview(pixels))
    recorded = Recorded(pipeline.answer(engine.infer(dict(prepared.feed)), prepared.placed), 1 / 64)
    return write_bundle(
        folder / "watched" / "mobilenet",
        engine="onnxruntime",
        precision="int8",
        model_file=model,
        inputs=engine.inputs,
        outputs=engine.outputs,
        labels=None,
        golden=Golden.of(dict(prepared.feed), engine.infer(dict(prepared.feed)), 0.05),
        picture=(replace(_PICTURE, recorded=recorded), pixels),
        baseline=baseline.write(),
    ).folder


def options(folder: Path) -> list[str]:
    """What the server is told beside its bundle."""
    notes = folder / "notes"
    notes.mkdir()
    told = {
        "privacy": "Samples", "spool": folder / "spool", "sample-bytes-per-day": _DAY_BYTES,
        "spool-bytes": _SPOOL_BYTES, "drift-cycle-seconds": _CYCLE, "notes": notes,
    }  # fmt: skip
    return [word for name, value in told.items() for word in (f"--{name}", str(value))]


def further(http: int, rpc: int, number: int) -> list[Callable[[], object]]:
    """What a client asks beside plain requests: streams, compressed calls, pictures, and calls that it gives up.

    Args:
        http: The port for HTTP.
        rpc: The port for gRPC.
        number: Which client.
    """
    image = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
    message, picture = grpc_request(image), png_bytes(_pixels(320, 240))
    rng = random.Random(number)  # noqa: S311 - the same pauses in every run
    own = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(f"127.0.0.1:{rpc}", own)
    infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_INFER)
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(_STREAM)
    head = "POST /v2/models/mobilenet/image HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n"
    packed = gzip.compress(picture)

    def compressed() -> None:
        infer(message, timeout=30, compression=grpc.Compression.Gzip)

    def streamed() -> None:
        if len(list(stream(iter([message] * 3), timeout=30))) != 3:
            raise SystemExit("a stream has not an answer for each request")

    def given_up() -> None:
        with suppress(grpc.RpcError):
            infer(message, timeout=rng.uniform(0.001, 0.03))

    def stream_given_up() -> None:
        call = stream(itertools.repeat(message, 20), timeout=30)
        with suppress(grpc.RpcError, StopIteration):
            next(call)
        call.cancel()

    def shown(sent: bytes, *, more: str = "", read: bool = True) -> None:
        with closing(socket.create_connection(("127.0.0.1", http), 30)) as connection, suppress(ConnectionError):
            connection.sendall(head.format(len(sent), more).encode() + sent)
            answer = connection.recv(65536) if read else b""
            if read and not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode(errors="replace"))
            if not read:  # the connection is reset, so that the server sees at once that nobody waits
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return [
        compressed,
        streamed,
        given_up,
        stream_given_up,
        lambda: shown(picture),
        lambda: shown(packed, more="Content-Encoding: gzip\r\n"),
        lambda: shown(picture, read=False),
    ]


def watched(http: int) -> None:
    """See that all was in use that this is about.

    Raises:
        SystemExit: Something was not.
    """
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=30) as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if line[:1] != "#"]
    counted = {name: float(value) for name, _, value in lines}
    for name in (
        'edgesmith_samples_total{outcome="random"}',
        "edgesmith_samples_dropped_total",
        "edgesmith_drift_samples_total",
        'edgesmith_requests_total{protocol="grpc",operation="infer",code="CANCELLED"}',
        'edgesmith_requests_total{protocol="http",operation="image",code="200"}',
    ):
        if not counted.get(name):
            raise SystemExit(f"{name} is {counted.get(name)}; expected more than 0")


def _pixels(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)
