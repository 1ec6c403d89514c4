"""What the images weigh."""

from __future__ import annotations

import json
import sys

from row import Row

from edgesmith_stage.shell import ROOT, run


def measure_sizes() -> list[Row]:
    """Compressed size of the runtime base image per platform, against the aim of 75 MB."""
    sizes = json.loads(run([sys.executable, ROOT / "hack/images", "size", "--json"]))
    return [
        Row(f"runtime base image, {platform}", size / 1e6, "MB", "75 MB, the aim", size / 75e6)
        for platform, size in sorted(sizes["runtime"].items())
    ]
