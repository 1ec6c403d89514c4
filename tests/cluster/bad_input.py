"""Every wrong input of the table, and what must come of it."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from edge_tpu_files import compiled_file_of, edge_tpu_options
from onnx import numpy_helper
from tflite import Tensor, fully_connected

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet

Spec = dict[str, Any]

ENDS = Tensor("x", (1, 16), "int8", scale=1 / 16), Tensor("y", (1, 4), "int8", scale=1 / 16)
"""Of the files for an Edge TPU: the input and the output."""


@dataclass(frozen=True)
class Bad:
    """One wrong input: the change to a spec that was good, and the condition that must follow."""

    name: str
    change: Callable[[Fleet], Spec]
    reason: str
    says: tuple[str, ...]
    """Words that the sentence must hold: the field, the value, what was expected."""
    condition: str = "Stalled"


def table() -> tuple[Bad, ...]:
    """The table."""
    return (
        Bad(
            "unknown-profile",
            lambda _: {"deviceProfiles": {"names": ["generic-amd64", "panel-pc", "no-such-device"]}},
            "ProfileNotFound",
            ("no-such-device", "deviceProfiles"),
        ),
        Bad(
            "source-missing",
            lambda _: {"source": {"uri": "s3://models/nowhere/model.onnx", "sha256": "0" * 64}},
            "SourceNotFound",
            ("s3://models/nowhere/model.onnx", "source"),
        ),
        Bad("wrong-sha256", _wrong_sha256, "DigestMismatch", ("sha256", "f" * 64)),
        Bad(
            "not-a-model",
            lambda f: {"source": f.publish_bytes("junk", b"not a model" * 999)},
            "ModelInvalid",
            ("model.onnx",),
        ),
        Bad("inputs-do-not-match", _mismatched, "DatasetMismatch", ("image",)),
        Bad("nan-in-the-weights", lambda f: {"source": f.publish_bytes("nan", nan_model())}, "ModelHasNaN", ("NaN",)),
        *in_vain(),
        Bad("pickled-objects", _pickled, "DatasetInvalid", ("pickle",)),
        Bad(
            "gate-nobody-passes",
            lambda _: {"gates": {"minAccuracy": "100%"}},
            "GatesFailed",
            ("minAccuracy", "0.9725"),
        ),
        # The last three want a model that was not built yet: what the registry holds needs no bucket.
        Bad("wrong-credentials", _wrong_credentials, "SourceForbidden", ("secretRef",)),
        Bad(
            "credentials-missing",
            lambda f: {"source": f.publish("2", "model-v2.onnx") | {"secretRef": {"name": "no-such-secret"}}},
            "CredentialsNotFound",
            ("no-such-secret",),
        ),
        Bad("bucket-down", _bucket_down, "WaitingForSource", ("127.0.0.1:9",), condition="Reconciling"),
    )


def in_vain() -> tuple[Bad, ...]:
    """Files that the runtime of a profile with ONNX Runtime cannot run, or may not read: no other build would."""
    compiled = compiled_file_of(*ENDS, edge_tpu_options(cached=64))
    return (
        Bad(
            "operator-that-nothing-has",
            lambda f: {"source": f.publish_bytes("flies", model_that_flies())},
            "ModelInvalid",
            ("'Fly'", "ONNX Runtime"),
        ),
        Bad(
            "pickle-without-consent",
            lambda f: {"source": f.publish_bytes("pickle", pickle.dumps({"a": 1}), "pkl")},
            "ModelInvalid",
            ("spec.source.trustPickle: true",),
        ),
        Bad(
            "edge-tpu-file-for-another-runtime",
            lambda f: {"source": f.publish_bytes("compiled", compiled, "tflite")},
            "ModelInvalid",
            ("compiled for the Edge TPU", "the file from before"),
        ),
    )


def newer_edge_tpu(profile: str) -> Bad:
    """A file that was compiled for a newer Edge TPU runtime than a profile's devices have.

    Args:
        profile: Whose toolchain is EdgeTPU.
    """
    newer = compiled_file_of(*ENDS, edge_tpu_options(runtime=15, cached=64))

    def change(fleet: Fleet) -> Spec:
        file = fleet.publish_bytes("newer", newer, "tflite")
        del file["secretRef"]
        whole = fully_connected(np.ones((16, 4), np.float32), "int8")
        return {
            "source": fleet.publish_bytes("whole", whole, "tflite"),
            "compiled": [{"toolchain": "EdgeTPU", **file}],
            "deviceProfiles": {"names": [profile]},
        }

    return Bad(
        "edge-tpu-file-for-a-newer-runtime", change, "NoCandidate", ("version 15 of the Edge TPU runtime", "at most 14")
    )


def model_that_flies() -> bytes:
    """The example's model with an operator that no runtime has."""
    model = onnx.load(surface.FOLDER / "model.onnx")
    model.graph.node[0].op_type = "Fly"
    content: bytes = model.SerializeToString()
    return content


def nan_model() -> bytes:
    """The example's model with one NaN in its first weight."""
    model = onnx.load(surface.FOLDER / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    content: bytes = model.SerializeToString()
    return content


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    """An .npz file; object arrays are pickled into it, as the wrong inputs need."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=True)
    return file.getvalue()


def _wrong_sha256(fleet: Fleet) -> Spec:
    return {"source": fleet.publish("1") | {"sha256": "f" * 64}}


def _mismatched(fleet: Fleet) -> Spec:
    content = npz(image=np.zeros((4, 3, 7, 7), np.float32), labels=np.zeros(4, np.int64))
    return {"evaluation": {"uri": fleet.publish_set("mismatched", content), "metric": "Accuracy"}}


def _pickled(fleet: Fleet) -> Spec:
    content = npz(image=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, np.int64))
    return {"evaluation": {"uri": fleet.publish_set("pickled", content), "metric": "Accuracy"}}


def _wrong_credentials(fleet: Fleet) -> Spec:
    secret: dict[str, Any] = fleet.ground.bucket.secret("wrong-keys")
    secret["stringData"] |= {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    fleet.ground.kube.apply(secret, namespace=fleet.namespace)
    return {"source": fleet.publish("2", "model-v2.onnx") | {"secretRef": {"name": "wrong-keys"}}}


def _bucket_down(fleet: Fleet) -> Spec:
    secret: dict[str, Any] = fleet.ground.bucket.secret("dead-bucket")
    secret["stringData"] |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    fleet.ground.kube.apply(secret, namespace=fleet.namespace)
    return {"source": fleet.publish("2", "model-v2.onnx") | {"secretRef": {"name": "dead-bucket"}}}
