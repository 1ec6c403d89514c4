"""Plans are the same in every process: none depends on the order in which Python has the members of a set."""

from __future__ import annotations

import os
import subprocess
import sys

import plans_of_seeds


def printed(hash_seed: int) -> list[str]:
    """What a process with a seed of its own for hashes prints."""
    folders = [os.path.dirname(plans_of_seeds.__file__), *sys.path]  # noqa: PTH120 -- as sys.path has them
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(folders)}
    line = [sys.executable, plans_of_seeds.__file__]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_plan_depends_on_how_python_orders_a_set() -> None:
    first, second = printed(1), printed(2)
    assert len(first) > 100
    assert next(((one, other) for one, other in zip(first, second, strict=True) if one != other), None) is None
