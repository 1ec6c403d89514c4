"""Bundles for `bench/gpu.py`: what the toolchain TensorRT makes of the examples, and of other files in ONNX.

    PYTHONPATH=… python bench/gpu_bundles.py FOLDER [--model FILE SIZE SIZE SIZE]

Made on any machine, since nothing of them is compiled before a GPU is there.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / "services"), str(ROOT / "hack" / "stage")]

from candidates import asked  # noqa: E402 - found by the lines above
from example_builds import SETTINGS, Folder, examples  # noqa: E402

from edgesmith.api.deviceprofile import DeviceProfile  # noqa: E402
from edgesmith.decide.builds import build_for  # noqa: E402
from edgesmith_builder.build import climb  # noqa: E402
from edgesmith_builder.contract import Build, Toolchain  # noqa: E402
from edgesmith_builder.errors import NoCandidate  # noqa: E402
from edgesmith_builder.gather import Inputs, gather  # noqa: E402

BASE = f"registry.example/triton@sha256:{'0' * 64}"
TOOLCHAIN = Toolchain(name="TensorRT", precisions=("int8", "fp16", "fp32"))
PROFILE = DeviceProfile.model_validate(
    {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": "gpu"},
        "spec": {
            "nodeSelector": {"edgesmith.dev/device": "gpu"},
            "platform": {"architecture": "amd64"},
            "toolchain": TOOLCHAIN.model_dump(exclude_defaults=True),
            "runtime": {"server": "Triton", "baseImage": BASE},
        },
    }
)


def builds(work: Path, models: Sequence[tuple[Path, tuple[int, ...]]]) -> Iterator[tuple[str, Build, Inputs]]:
    """Each model with what is asked of its build; those that TensorRT does not read are left out."""
    for folder, model, alternative in examples():
        wanted = build_for(model, PROFILE, SETTINGS, alternative)
        name = model.metadata.name + (f"-{alternative.name}" if alternative else "")
        own = work / name
        own.mkdir()
        if wanted.source.uri.endswith(".onnx"):
            yield name, wanted, gather(wanted, Folder(folder), own, threads=2)
    for file, sizes in models:
        own = work / file.stem
        own.mkdir()
        source = onnx.load(file)
        (one,) = source.graph.input
        for axis, size in zip(one.type.tensor_type.shape.dim[1:], sizes, strict=True):
            axis.dim_value = size
        yield file.stem, *asked(own, source, {one.name: pictures(sizes)}, toolchain=TOOLCHAIN)


def pictures(sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """Of many colours and brightnesses: to noise that is all alike, networks answer all alike."""
    random = np.random.default_rng(0)
    colours, depths = random.normal(0, 1, (64, sizes[0], 1, 1)), random.uniform(0, 1, (64, 1, 1, 1))
    made: NDArray[np.float32] = (colours + depths * random.normal(0, 1, (64, *sizes))).astype(np.float32)
    return made


def main() -> None:
    """Write FOLDER/MODEL-PRECISION for each candidate that passed."""
    logging.getLogger().setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", metavar=("FILE", "SIZE"), action="append", default=[])
    options = parser.parse_args()
    target: Path = options.folder
    models = [(Path(file), tuple(map(int, sizes))) for file, *sizes in options.model]
    with tempfile.TemporaryDirectory() as temporary:
        for name, wanted, inputs in builds(Path(temporary), models):
            work = Path(temporary) / name / "work"
            work.mkdir()
            try:
                outcome = climb(wanted, inputs, 0, work, threads=2, triton=True)
            except NoCandidate as failure:
                print(f"{name}: {failure}")
                continue
            for one in outcome.candidates:
                print(f"{name} {one.precision}: {one.rejected or f'agreement {one.agreement}'}", flush=True)
                if not one.rejected:
                    shutil.copytree(work / one.precision / "bundle", target / f"{name}-{one.precision}")


if __name__ == "__main__":
    main()
