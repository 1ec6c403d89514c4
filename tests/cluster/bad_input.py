"""Every wrong input of the table, and what must come of it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet

Spec = dict[str, Any]


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
