"""QNN in its simulator: examples from the bucket to answers over HTTP, by the programs that a cluster runs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qnns import folder_with_qnn

from edgesmith_builder.contract import Artifact, Gates, Platform, Toolchain
from edgesmith_builder.oci import Reference, Registry
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.loading import read
from tests.patience import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, samples: int) -> dict[str, bytes]:
    """The files of an example, the evaluation set shortened: the simulator needs a hundred times the CPU's time."""
    folder = EXAMPLES / name
    with np.load(folder / "evaluation.npz") as found:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, **{key: array[:samples] for key, array in found.items()})
    files = {
        key: (folder / f"{key}.{suffix}").read_bytes() for key, suffix in (("model", "onnx"), ("calibration", "npz"))
    }
    return files | {"evaluation": buffer.getvalue()}


def program(name: str, *words: str, **more: Any) -> subprocess.Popen[str]:
    path = os.pathsep.join([*sys.path, str(folder_with_qnn())])
    return subprocess.Popen(
        [sys.executable, "-m", name, *words],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        **more,
    )


def built(world: Any, request: Any, folder: Path, *more: str) -> str:
    """The image that the program of a build Job makes."""
    settings = world.store.settings
    keys = {
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "AWS_ENDPOINT_URL": settings.endpoint,
    }
    (folder / "secret").mkdir(parents=True)
    for name, value in keys.items():
        (folder / "secret" / name).write_text(value)
    (folder / "request.json").write_text(request.to_json())
    words = ("--request", str(folder / "request.json"), "--credentials", str(folder / "secret"))
    process = program("edgesmith_builder", *words, *more, stdout=subprocess.PIPE)
    out, said = process.communicate(timeout=280)
    assert process.returncode == 0, said
    return out.splitlines()[-1]


async def unpacked(image: str, folder: Path) -> Path:
    """The folder of an image's bundle."""
    reference = Reference.parse(image)
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None
        for layer in manifest.layers[-2:]:
            with tarfile.open(fileobj=io.BytesIO(await client.read_blob(reference.repository, layer))) as archive:
                archive.extractall(folder, filter="data")
    return folder / "model"


@contextmanager
def served(bundle: Path, name: str) -> Iterator[str]:
    """The runtime's server of a bundle, once it is ready, as the start of its URLs."""
    words = ("serve", "--bundle", str(bundle), "--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0")
    with program(
        "edgesmith_runtime", *words, "--name", name, "--accept-seconds", "0", stdout=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stderr is not None
            lines = [json.loads(process.stderr.readline())]
            while lines[-1]["message"] != "ready":
                lines.append(json.loads(process.stderr.readline()))
            port = next(line["http_port"] for line in lines if line["message"].startswith("listening"))
            yield f"http://127.0.0.1:{port}/v2/models"
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def answer(url: str, image: NDArray[np.float32]) -> list[float]:
    tensor = {"name": "image", "datatype": "FP32", "shape": image.shape, "data": image.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    with urllib.request.urlopen(f"{url}/infer", body, timeout=60) as response:  # noqa: S310 - a server of this test
        found: list[float] = json.loads(response.read())["outputs"][0]["data"]
    return found


@pytest.mark.long
@pytest.mark.timeout(280)
@pytest.mark.parametrize(("name", "samples"), [("digits", 40), ("surface-inspection", 6)])
async def test_an_example_answers_over_http_as_the_cpu_does(
    world: Any, tmp_path: Path, name: str, samples: int
) -> None:
    files = example(name, samples)
    places = {key: Artifact(uri=world.store.put(f"qnn/{name}/{key}", data)) for key, data in files.items()}
    request = world.request(
        source=places["model"], calibration=places["calibration"], evaluation=places["evaluation"],
        gates=Gates(max_accuracy_drop=0.5), platform=Platform(architecture="arm64", variant="v8"),
        toolchain=Toolchain(name="QNN", precisions=("int8",), options={"soc": "QCS6490", "performanceMode": "burst"}),
    )  # fmt: skip
    image = built(world, request, tmp_path / "1")
    bundle = await unpacked(image, tmp_path / "image")
    told, _ = read(bundle)
    assert (told.engine, told.precision, dict(told.options)) == ("qnn", "int8", {"performanceMode": "burst"})
    assert b"soc_type=QCS6490;arch=68;" in told.model_path.read_bytes()
    (tmp_path / "source.onnx").write_bytes(files["model"])
    cpu = closing(load_engine("onnxruntime", tmp_path / "source.onnx", threads=1))
    with np.load(io.BytesIO(files["evaluation"])) as found, cpu as engine, served(bundle, name) as url:
        for index in range(4):
            sample = found["image"][index : index + 1]
            (theirs,) = engine.infer({"image": sample}).values()
            assert np.abs(np.array(answer(f"{url}/{name}", sample)) - theirs.ravel()).max() < 0.15
    if name == "digits":  # elsewhere, with another number of threads, and other hashes
        again = request.model_copy(update={"repository": f"{request.repository}-again"})
        assert built(world, again, tmp_path / "2", "--threads", "1").partition("@")[2] == image.partition("@")[2]
