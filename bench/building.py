"""One build of a model of MobileNetV2's size as a Job runs it, in seconds by step; bucket and registry are real.

Its work is the processor's time of the builder's process, from start to end, with the imports; a fetch and a push are
work of other processes as well, which is not counted.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from minio import Minio
from mobilenet import SHAPE, mobilenet
from row import Row
from services import STORE_PASSWORD, STORE_USER, start_minio, start_registry

from edgesmith_builder.contract import Artifact, Build, BuildRequest, Platform, Toolchain
from edgesmith_runtime.engine import load_engine
from edgesmith_stage.shell import ROOT, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION, EVALUATION = 64, 256
"""Pictures of 602 kB each."""
WORK = 20.0
"""Seconds of processor time, the aim."""
_STEP = re.compile(r"^info \+[\d.]+s (?P<step>.*) in (?P<seconds>[\d.]+) s$")


def measure_building() -> list[Row]:
    """Build once, int8 and fp32 allowed, and read each step's seconds from the builder's log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("registry", "minio", "work"):
            (folder / part).mkdir()
        registry = start_registry(folder / "registry")
        try:
            base = json.loads(
                run([sys.executable, ROOT / "hack/images", "push", "--only", "runtime-onnxruntime", registry.address])
            )
            store = start_minio(folder / "minio")
            try:
                _upload(store.address, folder)
                log, work = _build(folder, registry.address, base["runtime-onnxruntime"], store.address)
            finally:
                store.stop()
        finally:
            registry.stop()
    return [Row("build of MobileNetV2, work", work, "s", f"{WORK:g} s, the aim", work / WORK, most=1.0), *_rows(log)]


def _upload(address: str, folder: Path) -> None:
    mobilenet(folder / "model.onnx")
    random = np.random.default_rng(5)
    for name, count in (("calibration", CALIBRATION), ("evaluation", EVALUATION)):
        arrays: dict[str, NDArray[Any]] = {"input": random.normal(size=(count, *SHAPE[1:])).astype(np.float32)}
        if name == "evaluation":
            arrays["labels"] = _classes(folder / "model.onnx", arrays["input"])
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
    client = Minio(endpoint=address, access_key=STORE_USER, secret_key=STORE_PASSWORD, secure=False)
    client.make_bucket(bucket_name="models")
    for file in ("model.onnx", "calibration.npz", "evaluation.npz"):
        client.fput_object(bucket_name="models", object_name=file, file_path=str(folder / file))


def _classes(model: Path, pictures: NDArray[Any]) -> NDArray[Any]:
    """What the network itself says, since it was never taught: a source no better than guessing is refused."""
    engine = load_engine("onnxruntime", model, threads=len(os.sched_getaffinity(0)))
    said = [int(engine.infer({"input": picture[None]})["output"].argmax()) for picture in pictures]
    engine.close()
    return np.array(said)


def _build(folder: Path, registry: str, base: str, bucket: str) -> tuple[str, float]:
    """Run the builder and return its log, and seconds of processor time."""
    build = Build(
        source=Artifact(uri="s3://models/model.onnx"),
        calibration=Artifact(uri="s3://models/calibration.npz"),
        evaluation=Artifact(uri="s3://models/evaluation.npz"),
        platform=Platform(architecture="amd64"),
        toolchain=Toolchain(precisions=("int8", "fp32")),
        base=base,
    )
    request = BuildRequest(build=build, repository=f"{registry}/models/mobilenet", plain_http=True)
    (folder / "request.json").write_text(request.to_json())
    credentials = {
        "AWS_ENDPOINT_URL": f"http://{bucket}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": STORE_USER,
        "AWS_SECRET_ACCESS_KEY": STORE_PASSWORD,
    }
    where = ["--request", str(folder / "request.json"), "--work", str(folder / "work")]
    command = [sys.executable, "-m", "edgesmith_builder", *where]
    before = _children()
    done = subprocess.run(command, env={**os.environ, **credentials}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr, _children() - before


def _children() -> float:
    """Seconds of processor time of all processes that were started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rows(log: str) -> list[Row]:
    steps = [found for line in log.splitlines() if (found := _STEP.match(line))]
    total = sum(float(found["seconds"]) for found in steps)
    shown = [
        Row(
            f"build: {_short(found['step'])}",
            float(found["seconds"]),
            "s",
            "all steps",
            float(found["seconds"]) / total,
        )
        for found in steps
        if float(found["seconds"])
    ]
    return [Row(f"build of MobileNetV2, {CALIBRATION} + {EVALUATION} pictures", total, "s"), *shown]


def _short(step: str) -> str:
    """A step's name without what was said of it: addresses and sizes differ from run to run."""
    words: list[str] = step.split()
    return " ".join(words[:2]) if words[0].endswith(":") else words[0]
