"""What the images weigh, and what an update of a model weighs beside the model."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from candidates import built
from detector import detector, pictures
from row import Row

from edgesmith_builder.contract import Gates
from edgesmith_stage.shell import ROOT, run


def measure_sizes() -> list[Row]:
    """Sizes of layers that travel, each against its aim."""
    return [*_bases(), *_update()]


def _update() -> list[Row]:
    """What an update of a small detector moves, against its compiled model's file; its inputs are larger than it."""
    with tempfile.TemporaryDirectory() as name:
        # Weights are random: eight bits lose more of them than of what was taught.
        winner = built(Path(name), detector(1), {"image": pictures(5)}, gates=Gates(min_agreement=0.0)).winner
    inputs, model = (layer.descriptor.size for layer in winner.layers)
    file = winner.candidate.size or 0
    return [
        *Row.of_update(f"update of a detector, {winner.candidate.precision}", model, file),
        Row("golden inputs of a detector", inputs, "bytes", "its model's file", inputs / file),
    ]


def _bases() -> list[Row]:
    """Compressed size of each runtime base image per platform, against the aim of 75 MB."""
    sizes = json.loads(run([sys.executable, ROOT / "hack/images", "size", "--json"]))
    return [
        Row(f"{name}, {platform}", size / 1e6, "MB", "75 MB, the aim", size / 75e6, most=1.0)
        for name in sorted(sizes)
        if name.startswith("runtime-")
        for platform, size in sorted(sizes[name].items())
    ]
