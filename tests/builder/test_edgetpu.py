"""The Edge TPU: what is read of a compiled file, what makes a pair, and what the compiler beside the builder is asked.

Google's compiler is not here. Where one is needed, a stand-in of that name copies a file that was compiled before.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attached import BILL, STATEMENT, hanging
from candidates import numbers
from edge_tpu_files import compiled_file_of, edge_tpu_options
from needs import beside
from tflite import Tensor, add, fully_connected, tflite_file

from edgesmith.resources.compiler import EDGE_TPU
from edgesmith_builder.contract import Artifact, BuildReport, Toolchain
from edgesmith_builder.contract.report import REPORT_ANNOTATION
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.format import ModelFacts, read_source
from edgesmith_builder.format.tflite.edgetpu import Package, read_package
from edgesmith_builder.toolchain import Compiled, Compiler, Material, toolchain_of
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.loading import load
from tests.patience import PATIENCE

W = numbers(16, 4)
TWIN = fully_connected(W, "int8")
"""`x` int8[1,16] to `y` int8[1,4], both with scale 1/16."""

OLDEST = {"minRuntimeVersion": "14"}


def compiled_file(x: Tensor | None = None, y: Tensor | None = None, **package: Any) -> bytes:
    """What the compiler makes of the twin."""
    return compiled_file_of(
        x or Tensor("x", (1, 16), "int8", scale=1 / 16),
        y or Tensor("y", (1, 4), "int8", scale=1 / 16),
        edge_tpu_options(**{"cached": 64} | package),
    )


def facts(folder: Path, data: bytes) -> ModelFacts:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source").write_bytes(data)
    return read_source(folder / "source", "the file")


def pair(folder: Path, data: bytes | None = None, source: bytes = TWIN, **settings: str) -> Compiled:
    """What the toolchain makes of a source and the file that was compiled of it."""
    compiled = facts(folder / "compiled", compiled_file() if data is None else data)
    material = Material(facts(folder / "source", source), None, OLDEST | settings, 1, compiled)
    toolchain = toolchain_of("EdgeTPU")
    refused = toolchain.refusal("int8", material)
    assert refused is None, refused
    (folder / "out").mkdir()
    return toolchain.compile("int8", material, folder / "out")


def package_of(folder: Path, data: bytes) -> Package:
    folder.joinpath("model.tflite").write_bytes(data)
    return read_package(folder / "model.tflite", "the file")


def test_a_compiled_file_says_what_it_needs_and_which_weights_have_room(tmp_path: Path) -> None:
    found = package_of(tmp_path, compiled_file(runtime=13, cached=500, streamed=70))
    assert found == Package(runtime=13, cached=500, streamed=70, chips=("beagle",))


def test_a_published_file_is_of_that_layout() -> None:
    file = beside("data/coral/mobilenet_v2_1.0_224_quant_edgetpu.tflite")
    assert read_package(file, "it") == Package(runtime=12, cached=3_900_864, streamed=0, chips=("beagle",))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(TWIN, "0 operators of it are edgetpu-custom-op", id="a plain file"),
        pytest.param(compiled_file(package=b"none"), "holds no package for the chip", id="another package"),
        pytest.param(
            compiled_file(package=b"\xff\xff\xff\xffDWN1"), "an offset leads to byte", id="a package of nothing"
        ),
    ],
)
def test_another_layout_is_refused_in_one_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ModelInvalid, match=words):
        package_of(tmp_path, data)


def test_whatever_byte_is_changed_a_package_is_read_or_refused(tmp_path: Path) -> None:
    good, chance, ends = compiled_file(), random.Random(3), set()  # noqa: S311 - which bytes are changed
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            ends.add(type(package_of(tmp_path, bytes(data))).__name__)
        except ModelInvalid as error:
            ends.add(type(error).__name__)
    assert ends == {"Package", "ModelInvalid"}


def test_a_pair_is_packed_together_and_the_twin_answers_here(tmp_path: Path) -> None:
    made = pair(tmp_path)
    assert made.model_file.read_bytes() == compiled_file()
    (twin,) = made.others
    assert twin.read_bytes() == TWIN
    assert (made.engine, made.came, made.warnings) == ("edgetpu", True, ())
    assert made.options == {"twin": twin.name}, "on a device it is not told to do without"
    assert toolchain_of("EdgeTPU").told_here(made.options) == {"twin": twin.name, "device": "cpu"}


def test_weights_that_are_streamed_are_a_warning_with_numbers(tmp_path: Path) -> None:
    (warning,) = pair(tmp_path, compiled_file(cached=200_000, streamed=3_000_000)).warnings
    assert warning == (
        "3.0 MB of the model's weights are sent to the Edge TPU again for each answer, and 200.0 kB stay in its 8.4 MB "
        "of memory"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(
            compiled_file(x=Tensor("image", (1, 16), "int8", scale=1 / 16)),
            r"has the inputs image int8\[1,16\] at scale 0.0625 and zero 0; those of spec.source were expected, x int8",
            id="another name",
        ),
        pytest.param(
            compiled_file(x=Tensor("x", (2, 16), "int8", scale=1 / 16)), r"x int8\[2,16\]", id="another shape"
        ),
        pytest.param(
            compiled_file(y=Tensor("y", (1, 4), "uint8", scale=1 / 16)), r"outputs y uint8", id="another type"
        ),
        pytest.param(compiled_file(y=Tensor("y", (1, 4), "int8", scale=1 / 8)), r"at scale 0.125", id="another scale"),
        pytest.param(compiled_file(y=Tensor("y", (1, 4), "int8", scale=1 / 16, zero=3)), "zero 3", id="another zero"),
        pytest.param(compiled_file(chip="hornet"), "is compiled for hornet; beagle was expected", id="another chip"),
        pytest.param(
            compiled_file(runtime=15),
            "spec.compiled of EdgeTPU needs version 15 of the Edge TPU runtime; at most 14 was expected, option",
            id="a newer runtime",
        ),
    ],
)
def test_files_that_do_not_belong_together_or_to_the_device_are_rejected(
    tmp_path: Path, data: bytes, words: str
) -> None:
    with pytest.raises(CompileFailed, match=words):
        pair(tmp_path, data)


def test_the_oldest_runtime_is_the_profile_s_own(tmp_path: Path) -> None:
    assert pair(tmp_path / "a", compiled_file(runtime=14)).engine == "edgetpu"
    with pytest.raises(CompileFailed, match="needs version 14 of the Edge TPU runtime; at most 13 was expected"):
        pair(tmp_path / "b", compiled_file(runtime=14), minRuntimeVersion="13")


def test_what_the_compiler_could_not_read_is_refused(tmp_path: Path) -> None:
    toolchain = toolchain_of("EdgeTPU")
    compiler = Compiler(tmp_path)
    wide = Material(facts(tmp_path / "a", fully_connected(W)), None, OLDEST, 1, None, compiler)
    assert "the model came in fp32, and there is no int8 form" in str(toolchain.refusal("int8", wide))
    ends = [Tensor("x", (1, 4)), Tensor("w", (4, 4), "int8", np.ones((4, 4), np.int8), 0.1), Tensor("y", (1, 4))]
    floats = Material(
        facts(tmp_path / "b", tflite_file(ends, [add("x", "y")], ["x"], ["y"])), None, OLDEST, 1, None, compiler
    )
    assert str(toolchain.refusal("int8", floats)).startswith("the model's input 'x' is no quantised uint8 or int8; a")
    nothing = Material(facts(tmp_path / "c", TWIN), None, OLDEST, 1)
    assert "spec.compiled of the EdgeModel or spec.toolchain.compilerImage" in str(toolchain.refusal("int8", nothing))
    assert toolchain.refusal("int8", replace(nothing, compiler=compiler)) is None


# The compiler in a container beside the builder -----------------------------------------------------------------------

STANDS_IN = """#!/bin/sh
# Stands in for Google's compiler: it gives out a file that was compiled before.
[ "$1 $3 $4 $5" = "--min_runtime_version --out_dir out source.tflite" ] || { echo "asked $*"; exit 9; }
echo "Edge TPU Compiler that stands in, for runtime $2"
cmp -s source.tflite "$KNOWN/twin.tflite" || { echo "Invalid model: source.tflite"; exit 1; }
cp "$KNOWN/compiled.tflite" out/source_edgetpu.tflite
"""


@pytest.fixture
def beside_the_builder(tmp_path: Path) -> Iterator[Path]:
    """The container's own command at work in a shared folder, with the stand-in on its path."""
    folder, known = tmp_path / "shared", tmp_path / "known"
    folder.mkdir()
    known.mkdir()
    (known / "twin.tflite").write_bytes(TWIN)
    (known / "compiled.tflite").write_bytes(compiled_file())
    (known / "edgetpu_compiler").write_text(STANDS_IN)
    (known / "edgetpu_compiler").chmod(0o755)
    process = container(folder, known)
    try:
        yield folder
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, "the kubelet's SIGTERM ends it at once"


def container(folder: Path, known: Path) -> subprocess.Popen[bytes]:
    environment = {"PATH": f"{known}:{os.environ['PATH']}", "KNOWN": str(known)}
    return subprocess.Popen(["/bin/sh", "-c", EDGE_TPU, "compiler", str(folder)], env=environment)


def test_the_compiler_beside_the_builder_is_asked_and_answers(tmp_path: Path, beside_the_builder: Path) -> None:
    compiler = Compiler(beside_the_builder, 60)
    material = Material(facts(tmp_path / "a", TWIN), None, OLDEST, 1, None, compiler)
    (tmp_path / "out").mkdir()
    made = toolchain_of("EdgeTPU").compile("int8", material, tmp_path / "out")
    assert made.model_file.read_bytes() == compiled_file()
    assert (beside_the_builder / "log").read_text() == "Edge TPU Compiler that stands in, for runtime 14\n"
    # A build that begins anew asks again.
    compiler.compile(material.source.path, tmp_path / "again", "13")
    assert (tmp_path / "again").read_bytes() == compiled_file()
    assert (beside_the_builder / "log").read_text() == "Edge TPU Compiler that stands in, for runtime 13\n"


def test_what_the_compiler_says_no_to_is_told_in_its_own_words(tmp_path: Path, beside_the_builder: Path) -> None:
    other = facts(tmp_path / "a", fully_connected(W * 2, "int8"))
    with pytest.raises(CompileFailed, match=r"compilerImage ended with 1: .* for runtime 13 Invalid model: source"):
        Compiler(beside_the_builder, 60).compile(other.path, tmp_path / "target", "13")


def test_a_compiler_that_was_ended_while_it_ran_is_not_waited_for(tmp_path: Path) -> None:
    """The kubelet starts its container again; another try would end the same way."""
    source, folder = facts(tmp_path / "a", TWIN), tmp_path / "shared"
    (folder / "begun").mkdir(parents=True)
    shutil.copyfile(source.path, folder / "source.tflite")
    process = container(folder, tmp_path)
    try:
        status = Compiler(folder, 60)._await()
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert status == "137"
    assert "more memory may be needed" in (folder / "log").read_text()


def test_a_compiler_that_never_answers_makes_no_candidate(tmp_path: Path) -> None:
    source = facts(tmp_path / "a", TWIN)
    (tmp_path / "shared").mkdir()
    with pytest.raises(CompileFailed, match="did not answer within 0 s") as caught:
        Compiler(tmp_path / "shared", 0).compile(source.path, tmp_path / "target", "14")
    assert not machine_failed(caught.value)


# From the bucket to the registry --------------------------------------------------------------------------------------


async def test_a_pair_is_built_from_the_bucket_to_the_registry(world: Any, sets: Any) -> None:
    compiled = compiled_file(cached=100, streamed=50)
    x = np.random.default_rng(1).integers(-128, 127, (96, 16), np.int8)
    twin, chip = world.store.put("edgetpu/t.tflite", TWIN), world.store.put("edgetpu/c.tflite", compiled)
    asked: dict[str, Any] = {
        "source": Artifact(uri=twin), "compiled": Artifact(uri=chip), "evaluation": None,
        "calibration": Artifact(uri=world.store.put("edgetpu/x.npz", sets.npz(x=x))), "gates": {},
        "toolchain": Toolchain(name="EdgeTPU", precisions=("int8",)),
    }  # fmt: skip
    built = await world.build(world.request(**asked))
    manifest = await world.manifest(built)
    report = BuildReport.model_validate_json(manifest.annotations[REPORT_ANNOTATION])
    assert report.precision == "int8"
    assert report.warnings[0].startswith("50 B of the model's weights are sent to the Edge TPU again")
    attached = await hanging(built.image)
    (_, bill), (_, made) = attached[BILL, ""], attached[STATEMENT, ""]
    digests = {"source": (twin, world.digest(twin)), "compiled": (chip, world.digest(chip))}
    ancestors = bill["components"][0]["pedigree"]["ancestors"]
    assert [(one["externalReferences"][0]["url"], one["hashes"][0]["content"]) for one in ancestors] == [
        *digests.values()
    ]
    resolved = {
        one["name"]: (one["uri"], one["digest"]["sha256"])
        for one in made["predicate"]["buildDefinition"]["resolvedDependencies"]
    }
    assert {role: resolved[role] for role in digests} == digests
    assert {one["name"] for one in bill["metadata"]["tools"]["components"]} == {"edgesmith_builder", "ai_edge_litert"}
    assert made["predicate"]["runDetails"]["builder"].get("builderDependencies") is None, "no image took part"
    with pytest.raises(
        ModelInvalid, match=r"is compiled for the Edge TPU, .* was expected, and this one under spec.com"
    ):
        await world.build(world.request(**asked | {"source": Artifact(uri=chip)}))
    with pytest.raises(ModelInvalid, match=r"spec.compiled.uri s3://.* is a plain TFLite file; one that is compiled"):
        await world.build(world.request(**asked | {"compiled": Artifact(uri=twin)}))


async def test_the_compilers_image_is_in_the_provenance(world: Any, sets: Any, beside_the_builder: Path) -> None:
    x = np.random.default_rng(1).integers(-128, 127, (96, 16), np.int8)
    image = f"registry.example/coral/compiler@sha256:{'c' * 64}"
    asked: dict[str, Any] = {
        "source": Artifact(uri=world.store.put("edgetpu/t.tflite", TWIN)), "evaluation": None, "gates": {},
        "calibration": Artifact(uri=world.store.put("edgetpu/x.npz", sets.npz(x=x))),
        "toolchain": Toolchain(name="EdgeTPU", precisions=("int8",), compiler_image=image),
    }  # fmt: skip
    built = await world.build(world.request(**asked), compiler=Compiler(beside_the_builder, 60))
    (_, made) = (await hanging(built.image))[STATEMENT, ""]
    assert made["predicate"]["runDetails"]["builder"]["builderDependencies"] == [
        {"name": "compiler", "uri": "oci://registry.example/coral/compiler", "digest": {"sha256": "c" * 64}}
    ]
    assert {one["name"] for one in made["predicate"]["buildDefinition"]["resolvedDependencies"]} == {
        "source",
        "calibration",
        "base",
    }


async def test_the_published_pair_serves_on_a_processor_and_says_so(world: Any) -> None:
    files = [beside(f"data/coral/mobilenet_v2_1.0_224_quant{end}.tflite") for end in ("", "_edgetpu")]
    twin, chip = (world.store.put(f"edgetpu/{file.name}", file.read_bytes()) for file in files)
    asked: dict[str, Any] = {
        "source": Artifact(uri=twin), "compiled": Artifact(uri=chip), "calibration": None, "evaluation": None,
        "gates": {}, "toolchain": Toolchain(name="EdgeTPU", precisions=("int8",)),
    }  # fmt: skip
    await world.build(world.request(**asked))
    (folder,) = world.folder.glob("work-*/int8/bundle")
    loaded = load(folder, threads=1, max_batch=1)
    try:
        assert loaded.bundle.engine == "edgetpu"
        assert sorted(loaded.bundle.digests) == ["answers.npz", "inputs.npz", "model.tflite", "twin.tflite"]
        assert (folder / "model.tflite").read_bytes() == files[1].read_bytes()
        assert str(loaded.model.engine.warning).startswith("runs on the CPU: ")
        assert isinstance(loaded.golden, Golden)
        assert loaded.parity.fraction == 1
    finally:
        loaded.model.engine.close()
