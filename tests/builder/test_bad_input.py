"""Bad input: each kind ends in its reason, with one sentence that names the field, its value and what was expected."""

from __future__ import annotations

import dataclasses
import gzip
import io
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgesmith_builder.cli import chosen
from edgesmith_builder.contract import Artifact, BuildRequest, Gates, Platform
from edgesmith_builder.errors import NoCandidate, failure_of

KNOWN = "0" * 64


@dataclass
class Bad:
    """A request that must fail, and whom it is made as."""

    request: BuildRequest
    options: dict[str, Any] = field(default_factory=dict)


Make = Callable[[Any], Bad]


def put(bench: Any, data: bytes, name: str = "bad") -> Artifact:
    return Artifact(uri=bench.world.store.put(f"bad/{uuid.uuid4().hex[:8]}/{name}", data))


def source(data: Callable[[Any], bytes]) -> Make:
    """A request whose model is bad."""
    return lambda bench: Bad(bench.world.request(source=put(bench, data(bench), "model.onnx")))


def evaluation(arrays: Callable[[Any], dict[str, Any]]) -> Make:
    """A request whose evaluation set holds other arrays."""
    return lambda bench: Bad(
        bench.world.request(evaluation=put(bench, bench.sets.npz(**arrays(bench)), "evaluation.npz"))
    )


def changed(**changes: Any) -> Make:
    """A request with other fields."""
    return lambda bench: Bad(bench.world.request(**changes))


def store(**changes: Any) -> Make:
    """A request made with other settings of the object store."""
    return lambda bench: Bad(
        bench.world.request(), {"settings": dataclasses.replace(bench.world.store.settings, **changes)}
    )


def outside(bench: Any) -> bytes:
    model = bench.classifier()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return bytes(model.SerializeToString())


def sequence(_: Any) -> bytes:
    item = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "sequence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(item))],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def unknown_operator(bench: Any) -> bytes:
    model = bench.classifier()
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return bytes(model.SerializeToString())


def extension(bench: Any) -> bytes:
    """Text made into tokens inside the model, as exporters of ONNX Runtime Extensions have it."""
    model = bench.classifier()
    model.graph.node[1].op_type, model.graph.node[1].domain = "BertTokenizer", "ai.onnx.contrib"
    return bytes(model.SerializeToString())


def future(bench: Any) -> bytes:
    model = bench.classifier()
    model.ir_version = 99
    return bytes(model.SerializeToString())


def climbing() -> bytes:
    """A tar whose one file would be written above the folder that it is unpacked in."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../model.onnx"), io.BytesIO())
    return buffer.getvalue()


def bomb(bench: Any) -> Bad:
    """A data set whose table of contents owns up to what would come out."""
    buffer = io.BytesIO(bench.sets.npz(image=bench.sets.images(3)))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("more.npy", bytes(1000))
        archive.infolist()[1].file_size = 4_400_000_000
    return Bad(bench.world.request(evaluation=put(bench, buffer.getvalue(), "bomb.npz")))


def registry_login(bench: Any) -> Bad:
    request = bench.world.request(repository=f"{bench.locked}/team/model")
    return Bad(request, {"credentials": bench.login(bench.locked, "wrong-password")})


CASES: list[tuple[str, Make, str, list[str]]] = [
    ("no-such-object", changed(source=Artifact(uri="s3://models/nowhere.onnx")), "SourceNotFound",
     ["spec.source.uri s3://models/nowhere.onnx", "does not exist (NoSuchKey)", "object nowhere.onnx was expected"]),
    ("no-such-bucket", changed(calibration=Artifact(uri="s3://no-bucket/set.npz")), "SourceNotFound",
     ["spec.calibration.uri s3://no-bucket/set.npz", "NoSuchBucket", "the bucket no-bucket was expected"]),
    ("no-s3-uri", changed(evaluation=Artifact(uri="http://x/y")), "RequestInvalid",
     ["spec.evaluation.uri is 'http://x/y'", "s3://BUCKET/KEY was expected"]),
    ("wrong-sha256", lambda bench: Bad(bench.world.request(source=Artifact(uri=bench.world.source, sha256=KNOWN))),
     "DigestMismatch", [f"spec.source.sha256 is {KNOWN}", "surface/model.onnx has ", "was expected"]),
    ("malformed-sha256", lambda bench: Bad(bench.world.request(source=Artifact(uri=bench.world.source, sha256="abc"))),
     "RequestInvalid", ["spec.source.sha256 is 'abc'", "64 hex digits were expected"]),
    ("wrong-key", store(secret_key="another-password"), "SourceForbidden",  # noqa: S106 - wrong on purpose
     ["spec.source.uri", "SignatureDoesNotMatch", "other keys that may was expected in spec.source.secretRef"]),
    ("no-key", store(access_key=None, secret_key=None), "SourceForbidden",
     ["AccessDenied", "with keys that may was expected in spec.source.secretRef"]),
    ("bucket-down", store(host="127.0.0.1:1"), "SourceUnreachable",
     ["spec.source.uri", "at http://127.0.0.1:1 gives no answer", "a running object store was expected"]),
    ("not-a-model", source(lambda _: b"this is a text, not a model"), "ModelInvalid",
     ["spec.source.uri s3://models/bad/", "is not an ONNX model", "an .onnx file was expected"]),
    ("empty-file", source(lambda _: b""), "ModelInvalid", ["has 0 bytes", "was expected"]),
    ("a-zip", source(lambda bench: bench.sets.npz(a=np.zeros(3))), "ModelInvalid",
     ["spec.source.uri s3://models/bad/", "is a zip without schema.json", "a TFLite file was expected"]),
    ("a-tar-that-climbs-out", source(lambda _: climbing()), "ModelInvalid",
     ["is a tar archive, which is not unpacked"]),
    ("a-gzip-bomb", source(lambda _: gzip.compress(bytes(10_000_000))), "ModelInvalid",
     ["is a gzip archive, which is not unpacked"]),
    ("a-tar-for-a-set", lambda bench: Bad(bench.world.request(calibration=put(bench, climbing(), "set.npz"))),
     "DatasetInvalid", ["spec.calibration.uri s3://models/bad/", "is not an .npz file"]),
    ("weights-elsewhere", source(outside), "ModelInvalid", ["'kernel'", "another file", "a single file was expected"]),
    ("a-sequence", source(sequence), "ModelInvalid", ["output 'y' of type sequence", "a tensor was expected"]),
    ("unknown-operator", source(unknown_operator), "ModelInvalid", ["does not run", "com.example", "was expected"]),
    ("extension", source(extension), "ModelInvalid",
     ["BertTokenizer of ai.onnx.contrib", "ONNX Runtime Extensions", "a model that takes what it answers"]),
    ("future-ir", source(future), "ModelInvalid", ["99", "was expected"]),
    ("larger-than-the-device", changed(device_memory=1000), "ModelTooLarge",
     ["spec.source.uri", "is larger than 1.0 kB", "at most that was expected, the memory of the device"]),
    ("nan-weight", source(lambda bench: bench.classifier(poison=np.nan).SerializeToString()), "ModelHasNaN",
     ["NaN in 1 of the 1536 values of the tensor 'dense'", "finite weights were expected"]),
    ("infinite-weight", source(lambda bench: bench.classifier(poison=np.inf).SerializeToString()), "ModelHasNaN",
     ["infinity in 1 of the 1536 values of the tensor 'dense'"]),
    ("not-an-npz", lambda bench: Bad(bench.world.request(calibration=put(bench, b"text", "set.npz"))), "DatasetInvalid",
     ["spec.calibration.uri s3://models/bad/", "is not an .npz file", "numpy.savez was expected"]),
    ("pickled-objects", evaluation(lambda _: {"image": np.array([{"a": 1}, None], dtype=object)}), "DatasetInvalid",
     ["spec.evaluation.uri s3://models/bad/", "'image' of pickled objects", "plain arrays were expected"]),
    ("a-zip-bomb", bomb, "DatasetInvalid", ["unpacks to 4.4 GB", "at most 4.0 GB were expected"]),
    ("nan-sample", evaluation(lambda _: {"image": np.full((3, 1, 8, 8), np.nan, np.float32), "labels": np.arange(3)}),
     "DatasetInvalid", ["NaN or infinity in the array 'image', first in sample 0", "finite numbers were expected"]),
    ("no-labels", evaluation(lambda bench: {"image": bench.sets.images(3)}), "DatasetInvalid",
     ["no array 'labels'", "the class of each sample was expected"]),
    ("no-samples", evaluation(lambda _: {"image": np.zeros((0, 1, 8, 8), np.float32), "labels": np.zeros(0, int)}),
     "DatasetInvalid", ["shape [0, 1, 8, 8]", "at least one sample was expected"]),
    ("another-name", evaluation(lambda bench: {"img": bench.sets.images(3), "labels": np.arange(3)}), "DatasetMismatch",
     ["arrays 'img'", "inputs were expected: 'image' FP32[-1,1,8,8]"]),
    ("another-type", evaluation(lambda bench: {"image": bench.sets.images(3).astype("f8"), "labels": np.arange(3)}),
     "DatasetMismatch", ["'image' of type FP64", "input 'image' is FP32"]),
    ("another-shape", evaluation(lambda _: {"image": np.zeros((3, 1, 9, 9), np.float32), "labels": np.arange(3)}),
     "DatasetMismatch", ["shape [3,1,9,9]", "takes [-1,1,8,8]"]),
    ("another-number", evaluation(lambda bench: {"image": bench.sets.images(3), "labels": np.arange(2)}),
     "DatasetMismatch", ["3 in 'image'", "2 in 'labels'", "the same number was expected"]),
    ("a-class-too-many", evaluation(lambda bench: {"image": bench.sets.images(3), "labels": np.array([0, 1, 4])}),
     "DatasetMismatch", ["the label 4", "output 'scores' has 4 classes"]),
    ("gate-nobody-passes", changed(gates=Gates(min_accuracy=1.01)), "GatesFailed",
     ["no candidate keeps the gates", "int8: accuracy is", "fp32: accuracy is 1.0000; at least 1.01",
      "spec.gates.minAccuracy"]),
    ("image-too-large", changed(gates=Gates(max_image_size=100)), "GatesFailed",
     ["fp32: the image has", "at most 100 are allowed by spec.gates.maxImageSize"]),
    ("gate-without-evaluation", changed(evaluation=None, gates=Gates(max_accuracy_drop=0.2)), "RequestInvalid",
     ["spec.gates.maxAccuracyDrop is 0.2", "spec.evaluation is absent", "was expected"]),
    ("no-such-base", lambda bench: Bad(bench.world.request(base=f"{bench.world.registry}/no/base@sha256:{KNOWN}")),
     "RequestInvalid", [f"build.base {{registry}}/no/base@sha256:{KNOWN} does not exist", "was expected there"]),
    ("base-by-tag", lambda bench: Bad(bench.world.request(base=f"{bench.world.registry}/edgesmith/runtime:1")),
     "RequestInvalid", ["an image by digest was expected"]),
    ("no-such-platform", changed(platform=Platform(architecture="riscv64")), "RequestInvalid",
     ["is made for linux/amd64, linux/arm64", "linux/riscv64 was expected"]),
    ("no-repository", changed(repository="just-a-name"), "RequestInvalid",
     ["'just-a-name'", "REGISTRY/NAME was expected"]),
    ("registry-login", registry_login, "RegistryForbidden", ["{locked}/team/model answered 401", "was expected"]),
    # Nothing is fetched for a registry that refuses: the model's place, which is wrong, is not what is said.
    ("registry-refuses", lambda bench: Bad(bench.world.request(
        repository=f"{bench.readonly}/team/model", source=Artifact(uri="s3://models/nowhere.onnx", sha256="0" * 64))),
     "RegistryRefused", ["{readonly}/team/model answered 405 when", "a registry that takes it was expected"]),
    ("registry-down", changed(repository="127.0.0.1:1/team/model"), "RegistryUnreachable",
     ["127.0.0.1:1/team/model gave no answer when reading the manifest"]),
]  # fmt: skip

RETRIED = {"SourceUnreachable", "RegistryUnreachable"}


@dataclass
class Bench:
    """What cases are made with."""

    world: Any
    classifier: Callable[..., onnx.ModelProto]
    sets: Any
    locked: str
    readonly: str
    login: Any


@pytest.fixture
def bench(world: Any, make_classifier: Any, sets: Any, login: Any, request: pytest.FixtureRequest) -> Bench:
    locked, readonly = (request.getfixturevalue(name) for name in ("locked_registry", "readonly_registry"))
    return Bench(world, make_classifier, sets, locked, readonly, login)


@pytest.mark.parametrize(("make", "reason", "words"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
async def test_bad_input(bench: Bench, make: Make, reason: str, words: list[str]) -> None:
    bad = make(bench)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the table says
        chosen(await bench.world.build(bad.request, **bad.options), bad.request.gates)
    failure = failure_of(caught.value)
    assert failure.reason == reason, failure.message
    assert failure.retry == (reason in RETRIED)
    addresses = {"registry": bench.world.registry, "locked": bench.locked, "readonly": bench.readonly}
    for word in words:
        assert word.format(**addresses) in failure.message
    assert "\n" not in failure.message
    assert "password" not in failure.message
    assert len(failure.to_json()) < 4096
    if reason == "GatesFailed":
        assert [candidate.precision for candidate in failure.candidates] == ["int8", "fp32"]
        assert all(candidate.rejected for candidate in failure.candidates)


async def test_nothing_is_pushed_under_the_key_when_a_build_fails(bench: Bench) -> None:
    from edgesmith_builder.oci import Reference, Registry  # noqa: PLC0415 - one user

    request = bench.world.request(calibration=None, precisions=("int8",))
    with pytest.raises(NoCandidate, match="no candidate can be made that works: int8: calibration is absent"):
        await bench.world.build(request)
    async with Registry(plain_http=True) as client:
        assert await client.manifest(Reference.parse(request.image)) is None
