"""What serving pays for sampling: p99 under load with samples taken and sent, against the same server without.

Both servers are there at once, and are asked in turns. The day's bytes are a hundred times the usual, a sample about
every second, and the container's uplink sends them to a bucket meanwhile.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from clients import over_http, timed
from row import Row
from serving import served

from edgesmith_runtime.bundle import write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden
from edgesmith_stage.shell import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLE = ROOT / "examples" / "surface-inspection"
CLIENTS = 4
P99 = 1.1
"""The aim: so many times the p99 without samples at most."""
DAY_BYTES = 2_000_000_000


def measure_sampling_cost(*, seconds: float = 3.0, rounds: int = 9) -> list[Row]:
    """Milliseconds at p50 and p99 of four clients, with and without; a minute.

    Args:
        seconds: The length of one part of a round.
        rounds: How often both are measured.
    """
    with np.load(EXAMPLE / "evaluation.npz") as archive:
        images = archive["image"][:64]
    with tempfile.TemporaryDirectory() as name, _bucket() as (endpoint, arrived):
        folder = Path(name)
        bundle = _bundle(folder, images)
        options = ["--privacy", "Samples", "--spool", str(folder / "spool"), "--sample-bytes-per-day", str(DAY_BYTES)]
        with served(bundle, 2) as without, served(bundle, 2, *options) as sampling, _uplink(folder, endpoint):
            calls = {
                key: [over_http(port, _request(bundle.name, image)) for image in images[:CLIENTS]]
                for key, port in (("without", without.http_port), ("with", sampling.http_port))
            }
            for one in calls.values():
                timed(one, 1.0)
            found: dict[str, list[list[float]]] = {key: [] for key in calls}
            for _ in range(rounds):
                for key, one in calls.items():
                    found[key].append(timed(one, seconds))
    return [_row(found, share) for share in (0.5, 0.99)] + [
        Row("samples: sent while serving was measured", len(arrived), "", f"{rounds * seconds * 2:.0f} s", None)
    ]


def _row(found: dict[str, list[list[float]]], share: float) -> Row:
    """A quantile of each round, and the median of the ratios within rounds, which share the same moment."""
    parts = {key: [float(np.quantile(times, share)) * 1000 for times in rounds] for key, rounds in found.items()}
    ratio = statistics.median(a / b for a, b in zip(parts["with"], parts["without"], strict=True))
    against = f"the same without, {statistics.median(parts['without']):.3g} ms"
    what = f"samples: p{share * 100:.0f} of {CLIENTS} clients while samples are taken and sent"
    return Row(what, statistics.median(parts["with"]), "ms", against, ratio, most=P99 if share == 0.99 else None)


def _bundle(folder: Path, images: NDArray[np.float32]) -> Path:
    model = EXAMPLE / "model.onnx"
    engine = load_engine("onnxruntime", model, threads=2)
    answers = [engine.infer({"image": images[row : row + 1]}) for row in range(16)]
    golden = Golden.of(
        {"image": images[:16]}, {"probabilities": np.concatenate([a["probabilities"] for a in answers])}, 0.05
    )
    return write_bundle(
        folder / "inspection", engine="onnxruntime", precision="fp32", model_file=model, inputs=engine.inputs,
        outputs=engine.outputs, labels=None, golden=golden,
    ).folder  # fmt: skip


def _request(model: str, image: NDArray[np.float32]) -> bytes:
    tensor = {
        "name": "image",
        "datatype": "FP32",
        "shape": [1, *image.shape],
        "parameters": {"binary_data_size": image.nbytes},
    }
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: bench\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\nContent-Length: {len(text) + image.nbytes}\r\n\r\n"
    )
    return head.encode() + text + image.tobytes()


@contextmanager
def _bucket() -> Iterator[tuple[str, list[int]]]:
    """A bucket that takes everything, and the sizes of what it took."""
    arrived: list[int] = []

    class Taking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            arrived.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", arrived
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _uplink(folder: Path, endpoint: str) -> Iterator[None]:
    keys = folder / "keys"
    keys.mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (keys / name).write_text("of the bench")
    command = [sys.executable, "-m", "edgesmith_runtime", "uplink", "--bucket", "s3://samples/edge", "--owner", "a/b"]
    options = ["--node", "n", "--spool", str(folder / "spool"), "--credentials", str(keys), "--endpoint", endpoint]
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        yield
    finally:
        process.kill()
        process.wait()
