"""Magika: bytes of files in, their kind out; the package itself is what its model is held against once it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from answering import answered
from contents import files, said, taken
from wheels import magika

from edgesmith_builder.contract import Gates

GATE = 0.05


async def test_kinds_of_files_are_told_as_by_the_package(workshop: Any, start_server: Any, tmp_path: Path) -> None:
    paths = files(tmp_path)
    kinds, package = said(paths)
    contents = np.stack([taken(path) for path in paths])
    labels = np.array([kinds.index(kind) for kind, _ in package])
    assert len(set(labels.tolist())) > 20

    report, bundle = await workshop.make(
        magika(),
        {"bytes": contents[::2]},
        {"bytes": contents[1::2], "labels": labels[1::2]},
        gates=Gates(max_accuracy_drop=GATE),
    )
    assert [candidate.precision for candidate in report.candidates] == ["int8", "fp32"]
    assert report.reference_accuracy == 1.0
    int8 = report.candidates[0]
    if int8.rejected is not None:
        assert "spec.gates.maxAccuracyDrop" in int8.rejected

    server = start_server(bundle, "--max-batch", str(len(paths)))
    scores = answered(server, "published", {"bytes": contents})["target_label"]
    told = [kinds[number] for number in scores.argmax(1)]
    if report.precision == "fp32":
        assert told == [kind for kind, _ in package]
        np.testing.assert_allclose(scores.max(1), [sure for _, sure in package], atol=2e-3)
    else:
        assert np.mean([one == kind for one, (kind, _) in zip(told, package, strict=True)]) >= 1 - GATE
