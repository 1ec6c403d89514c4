"""From a bundle on disk to a model that may serve: digests, engine, signature, golden samples, in this order."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgesmith_runtime.bundle import DEFAULT_NAME, Bundle, BundleError, read_bundle
from edgesmith_runtime.engine import Engine, EngineError, load_engine
from edgesmith_runtime.golden import Golden, GoldenError, Parity, replay
from edgesmith_runtime.picture import Pipeline
from edgesmith_runtime.picture.golden import replay_picture
from edgesmith_runtime.service import LoadedModel
from edgesmith_runtime.signature import ModelSignature
from edgesmith_runtime.tensors import ANY_SIZE, TensorSpec, shape_text
from edgesmith_runtime.termination import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["LoadFailed", "Loaded", "check_signature", "has_batch", "load", "pipeline_of", "read"]


class LoadFailed(Exception):  # noqa: N818 - reads as what happened
    """A bundle may not serve.

    Attributes:
        finding: Why, in the words that the operator reads.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that may serve.

    Attributes:
        bundle: Its bundle.
        model: The model as it is served.
        golden: Its golden samples.
        parity: How they were answered.
    """

    bundle: Bundle
    model: LoadedModel
    golden: Golden
    parity: Parity


def read(folder: Path, name: str = DEFAULT_NAME) -> tuple[Bundle, Golden]:
    """Read a bundle and its golden samples, and hold every byte against its digest.

    Args:
        folder: The bundle.
        name: What clients call the model.

    Raises:
        LoadFailed: The bundle is corrupt.
    """
    try:
        bundle = read_bundle(folder, name)
        return bundle, Golden.read(*bundle.golden_paths)
    except (BundleError, GoldenError) as error:
        raise LoadFailed(Finding("BundleCorrupt", str(error))) from error


def load(folder: Path, *, threads: int, max_batch: int, name: str = DEFAULT_NAME, together: int = 1) -> Loaded:
    """Load a bundle and hold its answers against the recorded ones.

    Args:
        folder: The bundle.
        threads: How many cores to compute with.
        max_batch: The largest batch that a request may have.
        name: What clients call the model.
        together: How many requests are run together at most.

    Raises:
        LoadFailed: The bundle is corrupt, the engine cannot run it, or an answer differs.
    """
    bundle, golden = read(folder, name)
    try:
        engine = load_engine(bundle.engine, bundle.model_path, threads=threads, options=bundle.options)
        check_signature(bundle, engine)
        if together > 1:
            _largest_first(engine, golden, together)
        parity = replay(engine, golden)
        pipeline = pipeline_of(bundle)
        fault = replay_picture(engine, pipeline, bundle.picture_path.read_bytes()) if pipeline else None
    except EngineError as error:
        raise LoadFailed(Finding("EngineFailed", str(error), engine=bundle.engine)) from error
    if not parity.passed:
        raise LoadFailed(Finding("GoldenMismatch", parity.message, parity=parity.fraction, engine=bundle.engine))
    if fault is not None:
        raise LoadFailed(Finding("GoldenMismatch", fault, parity=parity.fraction, engine=bundle.engine))
    batches = dict.fromkeys((spec.name for spec in bundle.inputs if has_batch(spec, golden)), max_batch)
    return Loaded(bundle, LoadedModel(ModelSignature.of(bundle, batches), engine, pipeline), golden, parity)


def _largest_first(engine: Engine, golden: Golden, together: int) -> None:
    """Let the first run be as large as usual ones will be: what it needs is kept, what larger ones need given back."""
    if all(has_batch(spec, golden) for spec in engine.inputs):
        feed = golden.samples(engine)[0]
        with contextlib.suppress(EngineError):  # who makes batches of it says so
            engine.infer({name: np.concatenate([array] * together) for name, array in feed.items()})


def pipeline_of(bundle: Bundle) -> Pipeline | None:
    """What a bundle does with pictures; None where it declares nothing."""
    if bundle.picture is None:
        return None
    datatypes = {spec.name: spec.datatype for spec in bundle.inputs}
    return Pipeline(bundle.picture, datatypes[bundle.picture.input], bundle.labels)


def has_batch(spec: TensorSpec, golden: Golden) -> bool:
    """Say whether an input's first size is a batch: its golden samples are slices of the input, not wholes."""
    return spec.shape[:1] == (ANY_SIZE,) and golden.inputs[spec.name].ndim == len(spec.shape)


def check_signature(bundle: Bundle, engine: Engine) -> None:
    """Hold what a loaded model takes and answers against its bundle.

    Raises:
        EngineError: They differ.
    """
    for kind, declared, found in (
        ("inputs", bundle.inputs, engine.inputs),
        ("outputs", bundle.outputs, engine.outputs),
    ):
        if declared != found:
            raise EngineError(
                f"the model's {kind} are {_described(found)}; expected {_described(declared)} from the bundle"
            )


def _described(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} {shape_text(spec.shape)}" for spec in specs)
