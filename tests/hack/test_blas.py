"""Numpy has one thread in the programs that devices and Jobs run."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SAYS = """
import contextlib, io, json, runpy, sys
program, sys.argv[1:] = sys.argv[1], ["--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    runpy.run_module(program, run_name="__main__", alter_sys=True)
import numpy, threadpoolctl
print(json.dumps([one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]))
"""


@pytest.mark.parametrize("program", ["edgesmith_runtime", "edgesmith_builder"])
def test_matrices_have_one_thread(program: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", SAYS, program]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert set(json.loads(told.splitlines()[-1])) == {1}
