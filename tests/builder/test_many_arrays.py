"""Sets of more arrays than a process may have files open: each array is mapped from a file of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith_builder.contract import BuildFailure
from tests.patience import PATIENCE

ARRAYS, FILES = 300, 256

PROGRAM = """
import resource, sys
from pathlib import Path
from edgesmith_builder import cli
from edgesmith_builder.dataset import read_npz
from edgesmith_builder.errors import failure_of
folder, hard = Path(sys.argv[1]), int(sys.argv[2]) or resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), hard))
assert cli.main(["--request", str(folder / "nowhere")]) == 1
try:
    print(len(read_npz(folder / "set.npz", field="spec.evaluation", folder=folder / "out")))
except Exception as error:
    print(failure_of(error).to_json())
"""


def read(folder: Path, hard: int) -> str:
    """What becomes of a set once the builder has begun, where this many files may be open at first."""
    arrays: dict[str, Any] = {f"column{number}": np.zeros((2, 1), np.float32) for number in range(ARRAYS)}
    np.savez(folder / "set.npz", **arrays)
    (folder / "out").mkdir()
    line = [sys.executable, "-c", PROGRAM, str(folder), str(hard), str(FILES)]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def test_as_many_files_are_opened_as_the_system_allows(tmp_path: Path) -> None:
    assert read(tmp_path, 0) == f"{ARRAYS}\n"


def test_too_many_open_files_are_no_fault_of_the_set(tmp_path: Path) -> None:
    failure = BuildFailure.model_validate_json(read(tmp_path, FILES))
    assert (failure.reason, failure.retry) == ("Internal", True)
    assert "Too many open files" in failure.message
