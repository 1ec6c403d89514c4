#!/usr/bin/env python3
"""Teaches the inspection's last layer again with what its nodes sent home: the Job of an episode of drift.

Runs in an image with Edgesmith's builder in it, as `spec.feedback.retraining.job` describes (docs/edgemodel.md). It
reads the samples of its EdgeModel, keeps those whose class somebody has said, teaches, puts the model and both sets
into a bucket, and names all three in the EdgeModel's spec: a new model without a new calibration set would be held
against the old baseline, and drift again at once.

Beside what the operator gives it: ``LABELS``, where the classes are (an ``.npz`` with the SHA-256 of each picture's
grey levels, ``pictures``, and its class, ``labels``), ``TARGET``, below which a folder is made for each episode, and
``ENOUGH``, how many labelled pictures it waits for: samples and classes may still come. The bucket's keys come from a
Secret, as ``AWS_…``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import ssl
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from minio import Minio
from minio.error import S3Error
from onnx import numpy_helper

from edgesmith_builder.samples import gather

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HELD_OUT = 3
"""Every third random sample is kept to judge by."""
PATIENCE_SECONDS = 3600.0
EVERY_SECONDS = 3.0

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Head:
    """The last layer: features times weight, plus bias."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Labelled:
    """Pictures with their classes; none of them twice."""

    images: Images
    labels: Classes
    fair: npt.NDArray[np.bool_]
    """Which of them were taken at random: the others are not what a camera sees as a rule."""


def _dense(model: onnx.ModelProto) -> onnx.NodeProto:
    """The last layer."""
    return next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")


def opened(model: onnx.ModelProto) -> tuple[onnxruntime.InferenceSession, Head]:
    """The model with what its last layer is given as one more output, and that layer."""
    dense = _dense(model)
    stored = {one.name: numpy_helper.to_array(one).astype(np.float64) for one in model.graph.initializer}
    more = onnx.ModelProto()
    more.CopyFrom(model)
    more.graph.output.append(onnx.helper.make_tensor_value_info(dense.input[0], onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(more.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, Head(stored[dense.input[1]], stored[dense.input[2]])


def answered(session: onnxruntime.InferenceSession, images: Images) -> tuple[Images, Floats]:
    """What the model answers to pictures, and what its last layer is given."""
    parts = [session.run(None, {"image": images[first : first + 64]}) for first in range(0, len(images), 64)]
    scores, features = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    return scores, features.reshape(len(images), -1).astype(np.float64)


def taught(head: Head, features: Floats, labels: Classes, weights: Floats, steps: int = 200) -> Head:
    """The last layer taught again, held to what it was.

    Args:
        head: As it was.
        features: What it is given, ``[samples, features]``.
        labels: What it should say.
        weights: What each sample counts.
        steps: Of gradient descent with momentum.
    """
    weights = weights / weights.sum()
    middle, spread = features.mean(0), features.std(0) + 1e-6
    scaled = (features - middle) / spread
    weight, bias = head.weight * spread[:, None], head.bias + middle @ head.weight
    first, pull = weight.copy(), 1e-3
    wanted = np.eye(len(bias))[labels]
    velocity_w, velocity_b = np.zeros_like(weight), np.zeros_like(bias)
    for _ in range(steps):
        logits = scaled @ weight + bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        error = (odds / odds.sum(1, keepdims=True) - wanted) * weights[:, None]
        velocity_w = 0.9 * velocity_w - 0.2 * (scaled.T @ error + pull * (weight - first))
        velocity_b = 0.9 * velocity_b - 0.2 * error.sum(0)
        weight, bias = weight + velocity_w, bias + velocity_b
    found = weight / spread[:, None]
    return Head(found, bias - middle @ found)


def with_head(model: onnx.ModelProto, head: Head) -> bytes:
    """The model with another last layer."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    names = dict(zip(_dense(model).input[1:3], (head.weight, head.bias), strict=True))
    for stored in changed.graph.initializer:
        if stored.name in names:
            stored.CopyFrom(numpy_helper.from_array(names[stored.name].astype(np.float32), stored.name))
    return bytes(changed.SerializeToString(deterministic=True))


def name_of(image: Images) -> str:
    """What a picture is called where its class is said: the SHA-256 of its grey levels."""
    return hashlib.sha256(image.astype(np.uint8).tobytes()).hexdigest()


def with_classes(folder: Path, classes: dict[str, int]) -> Labelled:
    """The samples in a folder whose classes are known, each picture once."""
    found = gather(folder)
    rows: dict[str, tuple[int, bool]] = {}
    images = found.arrays()["image"]
    for row, facts in enumerate(found.facts):
        name, fair = name_of(images[row]), facts["reason"] == "Random"
        if name in classes and (fair or name not in rows):
            rows[name] = row, fair
    chosen = np.array([row for row, _ in rows.values()], np.int64)
    labels = np.array([classes[name] for name in rows], np.int64)
    return Labelled(images[chosen], labels, np.array([fair for _, fair in rows.values()], np.bool_))


def retrained(model: onnx.ModelProto, seen: Labelled) -> dict[str, bytes]:
    """The files of the next version: the model, and the sets that it is quantised, watched and scored by.

    Args:
        model: The present one.
        seen: What nodes sent.
    """
    fair = np.flatnonzero(seen.fair)
    judged = fair[::HELD_OUT]
    known = np.setdiff1d(np.arange(len(seen.labels)), judged)
    session, head = opened(model)
    _, features = answered(session, seen.images[known])
    labels = seen.labels[known]
    # Each class counts as much as any other: most plates are without fault.
    counts = np.bincount(labels, minlength=len(head.bias))
    next_ = with_head(model, taught(head, features, labels, 1.0 / counts[labels]))
    return {
        "calibration.npz": _npz(image=seen.images[fair]),
        "evaluation.npz": _npz(image=seen.images[judged], labels=seen.labels[judged]),
        "model.onnx": next_,
    }


def _npz(**arrays: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


class Store:
    """The bucket, by URIs."""

    def __init__(self) -> None:
        """Connect, as the Secret's variables say."""
        place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
        self._client = Minio(
            endpoint=place.netloc,
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            region=os.environ.get("AWS_REGION", "us-east-1"),
            secure=place.scheme == "https",
        )

    def read(self, uri: str) -> bytes:
        """What lies at a URI."""
        bucket, key = _parts(uri)
        with self._client.get_object(bucket_name=bucket, object_name=key) as answer:
            return answer.read()

    def classes(self, uri: str) -> dict[str, int]:
        """What was said of pictures so far, by their names."""
        try:
            data = self.read(uri)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return {}
            raise
        with np.load(io.BytesIO(data), allow_pickle=False) as said:
            return dict(zip(said["pictures"].tolist(), said["labels"].tolist(), strict=True))

    def write(self, uri: str, data: bytes) -> dict[str, Any]:
        """Put bytes at a URI; what a spec says of them."""
        bucket, key = _parts(uri)
        self._client.put_object(bucket, key, io.BytesIO(data), len(data))
        return in_spec(uri, data)

    def fetch_new(self, uri: str, within: str, folder: Path) -> None:
        """Fetch what lies below a URI with some folders in its path; keys are digests, so nothing is fetched twice."""
        bucket, prefix = _parts(uri)
        for one in self._client.list_objects(bucket_name=bucket, prefix=f"{prefix}/", recursive=True):
            key = str(one.object_name)
            target = folder / key.rsplit("/", 1)[1]
            if within in key and not target.exists():
                target.write_bytes(self.read(f"s3://{bucket}/{key}"))


def in_spec(uri: str, data: bytes) -> dict[str, Any]:
    """What a spec says of a file; of a model with its size, since that of the one before would stay there."""
    size = {"bytes": len(data)} if uri.endswith(".onnx") else {}
    return {"uri": uri, "sha256": hashlib.sha256(data).hexdigest(), **size}


def _parts(uri: str) -> tuple[str, str]:
    found = urlsplit(uri)
    return found.netloc, found.path.strip("/")


def enough(store: Store, folder: Path) -> Labelled:
    """Wait for labelled samples, of whichever node.

    Raises:
        TimeoutError: There are too few after an hour.
    """
    wanted, ends = int(os.environ["ENOUGH"]), time.monotonic() + PATIENCE_SECONDS
    own = f"/{os.environ['EDGESMITH_NAMESPACE']}/{os.environ['EDGESMITH_MODEL']}/"
    while True:
        store.fetch_new(os.environ["EDGESMITH_SAMPLES"], own, folder)
        classes, count = store.classes(os.environ["LABELS"]), 0
        if classes and any(folder.iterdir()):
            seen = with_classes(folder, classes)
            count = len(seen.labels)
            if count >= wanted:
                return seen
        if time.monotonic() > ends:
            raise TimeoutError(f"{count} labelled samples came, {wanted} were expected")
        time.sleep(EVERY_SECONDS)


def put_into_spec(spec: dict[str, Any], account: Path = ACCOUNT) -> None:
    """Change the EdgeModel's spec, with the token of the Job's ServiceAccount.

    Args:
        spec: What changes.
        account: The token's folder.
    """
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    model = f"namespaces/{os.environ['EDGESMITH_NAMESPACE']}/edgemodels/{os.environ['EDGESMITH_MODEL']}"
    request = urllib.request.Request(
        f"https://{host}:{port}/apis/edgesmith.dev/v1alpha1/{model}",
        json.dumps({"spec": spec}).encode(),
        {
            "Content-Type": "application/merge-patch+json",
            "Authorization": f"Bearer {(account / 'token').read_text().strip()}",
        },
        method="PATCH",
    )
    context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:  # noqa: S310 -- https alone
        answer.read()


def main() -> None:
    """Wait for samples, teach, publish, and say so in the spec."""
    store, folder = Store(), Path("/tmp/samples")  # noqa: S108 -- the pod's own volume
    folder.mkdir(exist_ok=True)
    seen = enough(store, folder)
    model = onnx.load_model_from_string(store.read(os.environ["EDGESMITH_SOURCE"]))
    place = f"{os.environ['TARGET']}/{os.environ['EDGESMITH_EPISODE']}"
    files = {name: store.write(f"{place}/{name}", data) for name, data in retrained(model, seen).items()}
    spec = {"source": "model.onnx", "calibration": "calibration.npz", "evaluation": "evaluation.npz"}
    put_into_spec({part: files[name] for part, name in spec.items()})
    print(f"taught with {len(seen.labels)} pictures: {files['model.onnx']['uri']}")


if __name__ == "__main__":
    main()
