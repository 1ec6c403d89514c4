"""What a model takes and answers, held against what a server can, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgesmith_builder.dataset import NAME
from edgesmith_builder.errors import ModelInvalid
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import TensorSpec

_NAME = re.compile(NAME)


def check_servable(what: str, engine: Engine) -> None:
    """Refuse inputs and outputs that no request can name: those of a bundle, and of the sets, go by their names.

    Args:
        what: What messages call the model: `spec.source.uri s3://…`.
        engine: The model, loaded.

    Raises:
        ModelInvalid: naming the first that is wrong.
    """
    for kind, specs in (("input", engine.inputs), ("output", engine.outputs)):
        if not specs:
            raise ModelInvalid(f"{what} has no {kind}; at least one was expected")
        _check_names(what, kind, specs)


def _check_names(what: str, kind: str, specs: Sequence[TensorSpec]) -> None:
    seen: set[str] = set()
    for spec in specs:
        shown = repr(spec.name[:100])
        if not _NAME.fullmatch(spec.name):
            raise ModelInvalid(
                f"{what} has an {kind} {shown}, a name of {len(spec.name)} characters; 1 to 200 without control "
                "characters were expected"
            )
        if spec.name in seen:
            raise ModelInvalid(f"{what} has the {kind} {shown} twice; names that differ were expected")
        seen.add(spec.name)
