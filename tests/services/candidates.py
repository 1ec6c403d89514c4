"""Small models put through the builder's own steps, from the source's answers to the finished layers, without a bucket
or a registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from graphs import FLOAT, Value, model_of, node
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgesmith_builder.build import climb, first_report
from edgesmith_builder.contract import Artifact, Build, Gates, Platform, Precision, Toolchain
from edgesmith_builder.dataset import samples_for
from edgesmith_builder.format.onnx import read_model
from edgesmith_builder.gates import judge
from edgesmith_builder.gather import Inputs, ask
from edgesmith_builder.ladder import Attempt, Outcome
from edgesmith_builder.metric import metric_of
from edgesmith_builder.picture import declared_picture
from edgesmith_runtime.engine import load_engine

__all__ = ["FLOAT", "INT64", "Value", "asked", "built", "made", "node", "numbers"]

INT64 = TensorProto.INT64


def made(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: Mapping[str, NDArray[Any]],
    labels: str | None = None,
) -> onnx.ModelProto:
    """A model of these nodes; values are name, type and shape, `labels` its class names as JSON."""
    model = model_of(nodes, inputs, outputs, weights)
    if labels:
        helper.set_model_props(model, {"labels": labels})
    return model


def asked(
    folder: Path,
    model: onnx.ModelProto,
    calibration: Mapping[str, NDArray[Any]] | None = None,
    evaluation: Mapping[str, NDArray[Any]] | None = None,
    **changes: Any,
) -> tuple[Build, Inputs]:
    """A build of a model and what its source answered; `changes` are fields of the build, or `precisions`."""
    source = folder / "source.onnx"
    source.write_bytes(model.SerializeToString())
    precisions: tuple[Precision, ...] = changes.pop("precisions", ("int8", "fp32"))
    wanted = Build(
        **{
            "source": Artifact(uri="s3://m/source.onnx"),
            "platform": Platform(architecture="amd64"),
            "toolchain": Toolchain(precisions=precisions),
            "base": "r/b@sha256:0",
            **changes,
        }
    )
    metric = metric_of(wanted.metric, wanted.metric_options)
    engine = load_engine("onnxruntime", source, threads=1)
    try:
        sets = [
            samples_for(arrays, engine.inputs, field=field, labels=metric.labels if "labels" in arrays else None)
            if arrays
            else None
            for field, arrays in (("spec.calibration", calibration), ("spec.evaluation", evaluation))
        ]
        facts = read_model(source, "source.onnx")
        declared = (
            declared_picture(wanted.picture, engine.inputs, engine.outputs, facts.labels) if wanted.picture else None
        )
        return wanted, ask(wanted, facts, engine, *sets, declared=declared)
    finally:
        engine.close()


def built(
    folder: Path,
    model: onnx.ModelProto,
    *sets: Mapping[str, NDArray[Any]] | None,
    gates: Gates | None = None,
    **changes: Any,
) -> Outcome:
    """What gates leave of the ladder; the winner's bundle is in `folder/work/PRECISION/bundle`."""
    wanted, inputs = asked(folder, model, *sets, **changes)
    (folder / "work").mkdir()
    return gated(climb(wanted, inputs, 0, folder / "work", 1), inputs, gates or Gates())


def gated(outcome: Outcome, inputs: Inputs, gates: Gates) -> Outcome:
    """The outcome without the finalists that gates refuse, whose candidates have the reason as their rejection."""
    judged = judge(first_report(inputs, outcome), gates)
    kept = {one.precision: one for one in judged.finalists}
    return Outcome(
        tuple(
            Attempt(one.candidate, one.layers, kept[one.candidate.precision].warnings)
            for one in outcome.finalists
            if one.candidate.precision in kept
        ),
        tuple(one.model_copy(update={"rejected": judged.refused.get(one.precision)}) for one in outcome.candidates),
    )


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
