"""What serving pays for sampling: p99 under load with samples taken and sent, against the same server without.

Both servers are there at once, and are asked in turns. The day's bytes are a hundred times the usual, a sample about
every second, and the container's uplink sends them to a bucket meanwhile, which takes them, refuses them or does not
answer, while the spool or its disk is full (`spool_states.py`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from clients import over_http, timed
from row import Row
from serving import served
from spool_states import STATES, Bucket, SpoolState

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


def measure_sampling_cost(*, seconds: float = 3.0, rounds: int = 7) -> list[Row]:
    """Milliseconds at p50 and p99 of four clients, with and without, in each state of the spool; four minutes.

    Args:
        seconds: The length of one part of a round.
        rounds: How often both are measured in each state.
    """
    with np.load(EXAMPLE / "evaluation.npz") as archive:
        images = archive["image"][:64]
    rows: list[Row] = []
    for state in STATES:
        with tempfile.TemporaryDirectory() as name:
            rows += _measured(state, Path(name), images, seconds, rounds)
    return rows


def _measured(
    state: SpoolState, folder: Path, images: NDArray[np.float32], seconds: float, rounds: int
) -> Iterator[Row]:
    """The rows of one state."""
    bundle, bucket = _bundle(folder, images), Bucket(state.status)
    options = ["--privacy", "Samples", "--spool", str(folder / "spool"), "--sample-bytes-per-day", str(DAY_BYTES)]
    options += ["--spool-bytes", str(state.bytes)] if state.bytes is not None else []
    with (
        closing(bucket),
        state.spool(folder / "spool"),
        served(bundle, 2) as without,
        served(bundle, 2, *options) as sampling,
        _uplink(folder, bucket.endpoint),
    ):
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
    for share in (0.5, 0.99):
        yield _row(found, share, state)
    arrived = f"samples: sent to the bucket while {state.words}"
    yield Row(arrived, len(bucket.arrived), "", f"{rounds * seconds * 2:.0f} s", None)


def _row(found: dict[str, list[list[float]]], share: float, state: SpoolState) -> Row:
    """A quantile of each round, and the median of the ratios within rounds, which share the same moment."""
    parts = {key: [float(np.quantile(times, share)) * 1000 for times in rounds] for key, rounds in found.items()}
    ratio = statistics.median(a / b for a, b in zip(parts["with"], parts["without"], strict=True))
    against = f"the same without, {statistics.median(parts['without']):.3g} ms"
    what = f"samples: p{share * 100:.0f} of {CLIENTS} clients while {state.words}"
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
