"""A variant image as the registry holds it."""

from __future__ import annotations

import io
import json
import tarfile
import urllib.request
from functools import cache
from typing import Any

import onnxruntime


def bundle_layers(image: str) -> list[bytes]:
    """An image's last two layers, tars of its bundle: golden inputs, model.

    `image` is a reference by digest into a plain-HTTP registry.
    """
    registry, _, rest = image.partition("/")
    repository, _, digest = rest.partition("@")
    manifest = json.loads(_fetch(registry, f"{repository}/manifests/{digest}"))
    return [_fetch(registry, f"{repository}/blobs/{layer['digest']}") for layer in manifest["layers"][-2:]]


@cache
def model_of(image: str) -> Any:
    """An ONNX Runtime session on the model inside an image's last layer."""
    with tarfile.open(fileobj=io.BytesIO(bundle_layers(image)[-1])) as tar:
        member = tar.extractfile("model/model.onnx")
        if member is None:
            raise AssertionError(f"{image} holds no model/model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(member.read(), options, providers=["CPUExecutionProvider"])


def _fetch(registry: str, path: str) -> bytes:
    request = urllib.request.Request(
        f"http://{registry}/v2/{path}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
        body: bytes = response.read()
        return body
