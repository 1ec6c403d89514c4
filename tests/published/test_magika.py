"""Magika: bytes of files in, their kind out; the package itself is what its model is held against once it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answering import answered
from cases import file_kinds

from edgesmith_builder.contract import Gates


@pytest.mark.long
async def test_kinds_of_files_are_told_as_by_the_package(workshop: Any, start_server: Any, tmp_path: Path) -> None:
    case, kinds, package = file_kinds(tmp_path)
    assert [f"{kind}-{number % 2}" for number, (kind, _) in enumerate(package.values())] == list(package)
    assert min(sure for _, sure in package.values()) > 0.9
    made = await workshop.make(case, Gates(max_accuracy_drop=0.05), precisions=("int8", "int8-mixed", "fp32"))
    assert made.report.reference_accuracy == 1.0
    assert [one.precision for one in made.judged.finalists] == ["fp32"]
    # That is for want of files: what 8 bits lose of text are one file of thirty at most.
    assert "either way only over 30 samples" in made.judged.refused["int8"]
    int8 = next(one for one in made.report.candidates if one.precision == "int8")
    assert int8.accuracy_drop is not None
    assert int8.accuracy_drop < 0.05
    assert int8.agreement is not None
    assert int8.agreement > 0.95

    server = start_server(made.bundle, "--name", "published", "--max-batch", str(len(package)))
    contents = np.concatenate([one["bytes"] for one in (case.calibration, case.evaluation) if one is not None])
    scores = answered(server, "published", {"bytes": contents})["target_label"]
    said = list(package.values())
    inorder = said[::2] + said[1::2]
    assert [kinds[number] for number in scores.argmax(1)] == [kind for kind, _ in inorder]
    np.testing.assert_allclose(scores.max(1), [sure for _, sure in inorder], atol=2e-3)
