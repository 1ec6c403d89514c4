"""The input of a model that came without names: it is called as the sets call it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import onnx

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.onnx.renaming import NameShared, rename
from edgesmith_builder.format.renames import Renames


def named(facts: ModelFacts, names: Collection[str], what: str) -> ModelFacts:
    """Give the one input the name of the sets' one array, in the file; where they have several, it keeps its own.

    Args:
        facts: The model; its file is written anew.
        names: The arrays of the sets, without labels.
        what: What messages call it.

    Raises:
        ModelInvalid: where an output has that name.
    """
    model = onnx.load_model(facts.path, load_external_data=False)
    if len(names) != 1 or len(model.graph.input) != 1:
        return facts
    (new,), old = names, model.graph.input[0].name
    try:
        rename(model, Renames(inputs={old: new}))
    except NameShared:
        raise ModelInvalid(
            f"{what} has an output {new!r}, as the sets' array is called; another name for the array was expected"
        ) from None
    onnx.save_model(model, facts.path)
    return replace(facts, size=facts.path.stat().st_size)
