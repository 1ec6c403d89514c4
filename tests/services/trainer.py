"""A training Job of a tiny classifier, as a user would write it: a program with what a Job of an episode gets.

It trains on labelled samples of its bucket, puts the model and its sets there, and names them in the EdgeModel that it
is about, as the example's does.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from minio import Minio
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/surface-inspection"


def train(x: NDArray[np.float32], labels: NDArray[np.int64]) -> bytes:
    """Logistic regression by gradient descent, as ONNX: `x` FP32 [batch,n] to probabilities `p`."""
    middle, spread = x.mean(0), x.std(0)
    scaled = (x - middle) / spread
    weights, offset = np.zeros((x.shape[1], 2)), np.zeros(2)
    right = np.eye(2)[labels]
    for _ in range(300):
        scores = scaled @ weights + offset
        chances = np.exp(scores - scores.max(1, keepdims=True))
        wrong = chances / chances.sum(1, keepdims=True) - right
        weights -= scaled.T @ wrong / len(x)
        offset -= wrong.mean(0)
    weights = weights / spread[:, np.newaxis]
    arrays = {"w": weights.astype(np.float32), "b": (offset - middle @ weights).astype(np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["s"]), helper.make_node("Softmax", ["s"], ["p"], axis=1)],
        "trained",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", x.shape[1]])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.ModelProto.SerializeToString(model))


def as_npz(**arrays: NDArray[Any]) -> bytes:
    """Arrays as a data set."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def publish(
    store: Minio, bucket: str, folder: str, x: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Train on samples, put model and sets into a bucket; what an EdgeModel's spec says of them."""
    files = {
        "source": ("model.onnx", train(x, labels)),
        "calibration": ("calibration.npz", as_npz(x=x)),
        "evaluation": ("evaluation.npz", as_npz(x=x[:200], labels=labels[:200])),
    }
    found: dict[str, Any] = {}
    for field, (name, data) in files.items():
        store.put_object(bucket, f"{folder}/{name}", io.BytesIO(data), len(data))
        found[field] = {"uri": f"s3://{bucket}/{folder}/{name}", "sha256": hashlib.sha256(data).hexdigest()}
    return found


def main() -> None:
    """Train, publish and say so."""
    place = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    store = Minio(endpoint=place, access_key=keys[0], secret_key=keys[1], secure=False)
    with store.get_object("models", os.environ["LABELLED"]) as answer:
        found = np.load(io.BytesIO(answer.read()))
    spec = publish(store, "models", f"trained/{os.environ['EDGESMITH_EPISODE']}", found["x"], found["labels"])
    sys.path.insert(0, str(EXAMPLE))
    from retrain import put_into_spec  # noqa: PLC0415 - a script of the example

    put_into_spec(spec, Path(os.environ["ACCOUNT"]))


if __name__ == "__main__":
    main()
