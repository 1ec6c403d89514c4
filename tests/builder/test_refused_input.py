"""Bad input from the bucket to the condition: one clear sentence each, no second try, and nothing else stops.

The builder is given the input for real; what it answers is read as the operator reads a build Job, and decided on.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import tarfile
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from edge_tpu_files import compiled_file_of, edge_tpu_options
from onnx import TensorProto, helper
from snapshots import NOW, job, key_of, model, profile, said, snapshot
from tflite import Operator, Tensor, fully_connected, tflite_file

from edgesmith.decide import decide
from edgesmith_builder.contract import Artifact, BuildFailure, FailureReason, Gates, Toolchain
from edgesmith_builder.errors import BuildError, failure_of
from edgesmith_builder.oci import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

Case = dict[str, Any]
"""Bytes by the field of the build that they are put under; other fields as they are."""

X, Y = Tensor("x", (1, 16), "int8", scale=1 / 16), Tensor("y", (1, 4), "int8", scale=1 / 16)
IMAGES = np.random.default_rng(1).random((40, 1, 8, 8)).astype(np.float32)


def onnx_file(
    operator: str, domain: str = "", *, opset: int = 17, ir_version: int = 8, shape: tuple[int, ...] = (1, 8, 8)
) -> bytes:
    """Images to images through one operator."""
    sizes: list[str | int] = ["batch", *shape]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in ("image", "scores")]
    node = helper.make_node(operator, ["image"], ["scores"], domain=domain, name="only")
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    return bytes(made.SerializeToString())


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def twice() -> bytes:
    """A model that answers one output under one name two times."""
    model = onnx.load_from_string(onnx_file("Relu"))
    model.graph.output.append(model.graph.output[0])
    return bytes(model.SerializeToString())


def torn_header() -> bytes:
    """An array whose description opens a bracket that nothing closes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00\x04\x00((((")
    return buffer.getvalue()


def zip_bomb() -> bytes:
    """Zeros that unpack to more than a data set may have, by what the zip's own table says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", bytes(2**20))
    size = struct.pack("<I", 2**20)
    return buffer.getvalue().replace(size, struct.pack("<I", 2**32 - 2))


def tar_that_climbs() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("../../etc/model.onnx")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"onnx"))
    return buffer.getvalue()


def tflite_with(operator: str) -> bytes:
    return tflite_file([X, Y], [Operator("CUSTOM", ["x"], ["y"], custom=operator)], ["x"], ["y"])


INT8 = Toolchain(precisions=("int8",))
TWIN = fully_connected(np.ones((16, 4), np.float32), "int8")
OPENVINO = Toolchain(name="OpenVINO", precisions=("fp32",))
LITERT = Toolchain(name="LiteRT", precisions=("int8",))
CORAL = Toolchain(name="EdgeTPU", precisions=("int8",))
NONE: Case = {"calibration": None, "evaluation": None, "gates": Gates()}

EDGE_TPU_FILE = compiled_file_of(X, Y, edge_tpu_options(cached=64))
NEWER = compiled_file_of(X, Y, edge_tpu_options(runtime=15, cached=64))
COMPILED_ALREADY = (
    r"is compiled for the Edge TPU, and nothing else runs it; the file from before it was compiled was exp"
)
NO_NPZ = r"is not an \.npz file \(File is not a zip file\); one written by numpy\.savez was expected"
ORT = r"ONNX Runtime \d+\.\d+\.\d+"


def labelled(labels: Any) -> Case:
    return {"evaluation": npz(image=IMAGES, labels=labels)}


BRIGHTEST = np.arange(40) % 4
"""The label of each sample that is the place of its largest number."""
ROWS = (np.eye(4, dtype=np.float32)[BRIGHTEST] + 0.1).reshape(40, 1, 1, 4)
ONE_CLASS: Case = {
    "source": onnx_file("Relu", shape=(1, 1, 4)),
    "calibration": npz(image=ROWS[BRIGHTEST == 2].repeat(2, axis=0)[:12]),
    "evaluation": npz(image=ROWS, labels=BRIGHTEST),
}

CASES: dict[str, tuple[Case, FailureReason, str]] = {
    "operator-that-nothing-has": (
        {"source": onnx_file("Fly")}, "ModelInvalid", rf"has operator 'Fly', which {ORT} does not have; a model of tho",
    ),
    "operator-of-their-own": (
        {"source": onnx_file("Fly", "com.example")}, "ModelInvalid", rf"has operator 'com\.example:Fly', which {ORT} d",
    ),
    "operator-of-the-extensions": (
        {"source": onnx_file("BertTokenizer", "ai.onnx.contrib")}, "ModelInvalid",
        r"has the operator BertTokenizer of ai\.onnx\.contrib, which is in ONNX Runtime Extensions",
    ),
    "operator-that-openvino-lacks": (
        {"source": onnx_file("Inverse", "com.microsoft"), "toolchain": OPENVINO, **NONE}, "NoCandidate",
        r"no candidate can be made that works: fp32: .* does not read it .*com\.microsoft\.Inverse",
    ),
    "operator-that-litert-lacks": (
        {"source": tflite_with("Mine"), "toolchain": LITERT, **NONE}, "ModelInvalid",
        r"has operator 'Mine', which LiteRT does not have; a model of its built-in ones was expected$",
    ),
    "newer-opset": (
        {"source": onnx_file("Relu", opset=99)}, "ModelInvalid",
        rf"has opset 99; \d\d or less with {ORT} was expected$",
    ),
    "newer-ir-version": (
        {"source": onnx_file("Relu", ir_version=99)}, "ModelInvalid",
        rf"has IR version 99; \d\d or less with {ORT} was expected$",
    ),
    "opset-newer-than-what-serves": (
        {"source": onnx_file("Swish", opset=24, ir_version=13), "engine_version": "1.19.2"}, "ModelInvalid",
        r" not in opset 21; opset 21 or less .* 1\.19\.2, which serves it \(spec\.runtime\.engineVersion of its Devic",
    ),
    "engine-whose-version-nobody-knows": (
        {"source": onnx_file("Relu"), "engine_version": "1.8.1"}, "RequestInvalid",
        r"^build\.engineVersion is 1\.8\.1; 1\.16 or newer was expected, since what an older ONNX Runtime reads is n",
    ),
    "output-named-twice": (
        {"source": twice()}, "ModelInvalid", r"/source has the output 'scores' twice; names that differ were expected$",
    ),
    "header-of-an-array-that-ends-nowhere": (
        {"calibration": torn_header()}, "DatasetInvalid", r"'image' with a header that cannot be read \(TokenError\)",
    ),
    "pickle-without-consent": (
        {"source": pickle.dumps({"a": 1})}, "ModelInvalid",
        r"runs code of whoever wrote it .* or spec\.source\.trustPickle: true was expected$",
    ),
    "device-too-small": (
        {"device_memory": 500}, "ModelTooLarge",
        r"is larger than 500 B; at most that was expected, the memory of the device \(spec\.hardware\.memory of its De",
    ),
    "calibration-of-another-shape": (
        {"calibration": npz(image=IMAGES[:, :, :4])}, "DatasetMismatch",
        r"the array 'image' of shape \[40,1,4,8\]; the model's input 'image' takes \[-1,1,8,8\]",
    ),
    "calibration-without-samples": (
        {"calibration": npz(image=IMAGES[:0])}, "DatasetInvalid", r"at least one sample was expected$",
    ),
    "calibration-empty": ({"calibration": b""}, "DatasetInvalid", NO_NPZ),
    "calibration-of-one-class": (
        ONE_CLASS, "DatasetMismatch",
        r"shows the model one class only: its output 'scores' says the same for all 12 samples, and spec\.evalua",
    ),
    "labels-of-one-class-that-is-not-answered": (
        labelled(np.zeros(40, np.int64)), "DatasetMismatch",
        r"is right for 0 of the 40 samples of spec\.evaluation, .* no better than guessing one of 4 classes",
    ),
    "labels-that-are-no-classes": (
        labelled(np.full(40, 0.5)), "DatasetInvalid", r"'labels' of type float64 .*; one integer or text for each samp",
    ),
    "labels-beyond-the-classes": (
        labelled(np.full(40, 9)), "DatasetMismatch", r"has the label 9; the model's output 'scores' has 4 classes$",
    ),
    "labels-too-few": (
        labelled(np.zeros(9, np.int64)), "DatasetMismatch", r"numbers of samples \(40 in 'image', 9 in 'labels'\); the",
    ),
    "labels-missing": ({"evaluation": npz(image=IMAGES)}, "DatasetInvalid", r"has no array 'labels'; the class of eac"),
    "labels-in-words": (
        labelled(np.array(["cat"] * 40)), "DatasetMismatch", r"has the label 'cat'; class numbers, or names that the m",
    ),
    "zip-bomb-as-a-set": (
        {"calibration": zip_bomb()}, "DatasetInvalid", r"unpacks to 4\.3 GB; at most 4\.0 GB were expected$",
    ),
    "zip-bomb-as-a-model": (
        {"source": zip_bomb()}, "ModelInvalid", r"is a zip without schema\.json; an estimator by skops\.io\.dump, an O",
    ),
    "tar-that-climbs-as-a-model": (
        {"source": tar_that_climbs()}, "ModelInvalid", r"is a gzip archive, which is not unpacked; the model's own fil",
    ),
    "tar-that-climbs-as-a-set": ({"calibration": tar_that_climbs()}, "DatasetInvalid", NO_NPZ),
    "edge-tpu-file-for-litert": (
        {"source": EDGE_TPU_FILE, "toolchain": LITERT, **NONE}, "ModelInvalid", COMPILED_ALREADY,
    ),
    "edge-tpu-file-for-onnx-runtime": (
        {"source": EDGE_TPU_FILE, "toolchain": INT8, **NONE}, "ModelInvalid", COMPILED_ALREADY,
    ),
    "edge-tpu-file-for-a-newer-runtime": (
        {"source": TWIN, "compiled": NEWER, "toolchain": CORAL, **NONE}, "NoCandidate",
        r"needs version 15 of the Edge TPU runtime; at most 14 was expected, option minRuntimeVersion of the DevicePro",
    ),
}  # fmt: skip


async def failure_from(world: Any, case: str) -> BuildFailure:
    """What the builder leaves in its termination message."""
    fields = dict(CASES[case][0])
    for role in ("source", "compiled", "calibration", "evaluation"):
        if isinstance(content := fields.get(role), bytes):
            fields[role] = Artifact(uri=world.store.put(f"bad/{case}/{role}", content))
    with pytest.raises((BuildError, RegistryError)) as caught:
        await world.build(world.request(**fields))
    return BuildFailure.model_validate_json(failure_of(caught.value).to_json())


@pytest.mark.parametrize("case", CASES)
async def test_the_builder_says_what_is_wrong_and_the_operator_stops_that_build_alone(
    world: Any, tmp_path: Path, case: str
) -> None:
    _, reason, words = CASES[case]
    failure = await failure_from(world, case)
    assert failure.reason == reason
    assert re.search(words, failure.message), failure.message
    assert "\n" not in failure.message
    assert not failure.retry
    assert not list(tmp_path.parent.rglob("etc/model.onnx"))

    both, other = (
        model(deviceProfiles={"names": ["amd64", "other"]}),
        profile("other", platform={"architecture": "arm64"}),
    )
    ended = job(both, finished=True, failure=failure, finished_at=NOW)
    seen = snapshot(
        both,
        profiles=(profile(), other),
        jobs=(ended,),
        images={key_of(both): None, key_of(both, other): None},
    )
    plan = decide(seen, NOW)
    bad, good = plan.status.variants
    assert (bad.profile, bad.state, bad.reason) == ("amd64", "BuildFailed", reason)
    assert failure.message.rstrip(".") in (bad.message or "")
    assert (good.profile, good.state) == ("other", "Building")
    assert said(plan)["Stalled"] == ("True", reason)
    assert [start.profile.metadata.name for start in plan.builds] == ["other"], "the other profile goes on"
    later = decide(seen, NOW + timedelta(days=30))
    assert [start.profile.metadata.name for start in later.builds] == ["other"], "and this one is not tried again"
