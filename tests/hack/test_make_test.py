"""`make test` never leaves out the cluster tier unasked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from needs import REQUIRE_ALL, lacking

ROOT = Path(__file__).resolve().parents[2]
NEEDS_ROOT = "The cluster tier needs root: run make as root, or leave that tier out with EDGESMITH_SKIP_CLUSTER=1."
PASSED = "false is not Python 3.11 or newer"
"""What the step after the check says here: `false` stands for Python, so that nothing else is run."""


def make(target: str, folder: Path, user: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as it behaves for a user, in a tree whose virtual environment is not made yet."""
    (folder / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (folder / "id").chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("EDGESMITH_", "MAKE"))}
    environment = {**inherited, **variables, "PATH": f"{folder}:{os.environ['PATH']}"}
    line = ["make", target, f"VENV={folder / 'venv'}", "PYTHON=false"]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("target", ["test", "test-cluster", "test-all"])
@pytest.mark.parametrize("skip", [{}, {"EDGESMITH_SKIP_CLUSTER": ""}, {"EDGESMITH_SKIP_CLUSTER": "0"}])
def test_without_root_it_fails_in_one_sentence(tmp_path: Path, target: str, skip: dict[str, str]) -> None:
    done = make(target, tmp_path, 1000, **skip)
    assert done.returncode == 2
    assert done.stdout == ""
    sentence, make_itself = done.stderr.splitlines()
    assert sentence == NEEDS_ROOT
    assert make_itself.startswith("make: *** ")


@pytest.mark.parametrize(
    ("user", "variables"),
    [
        pytest.param(0, {}, id="root"),
        pytest.param(1000, {"EDGESMITH_SKIP_CLUSTER": "1"}, id="left-out-by-name"),
    ],
)
def test_root_or_leaving_the_tier_out_by_name_lets_it_go_on(
    tmp_path: Path, user: int, variables: dict[str, str]
) -> None:
    done = make("test", tmp_path, user, **variables)
    assert PASSED in done.stderr
    assert NEEDS_ROOT not in done.stderr


def test_what_is_lacking_fails_a_whole_run_and_skips_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE_ALL, raising=False)
    with pytest.raises(pytest.skip.Exception, match="etcd is not compiled"):
        lacking("etcd is not compiled")
    monkeypatch.setenv(REQUIRE_ALL, "1")
    with pytest.raises(pytest.fail.Exception, match="etcd is not compiled"):
        lacking("etcd is not compiled")


def test_every_tier_runs_and_none_may_lack_anything(tmp_path: Path) -> None:
    """Together the two runs are all of tests/: what one leaves out, the other is."""
    line = ["make", "--dry-run", "test-all", f"VENV={tmp_path / 'venv'}", "EDGESMITH_SKIP_CLUSTER=1"]
    printed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    runs = [words.partition("-m pytest")[::2] for words in printed.splitlines() if "-m pytest" in words]
    assert sorted(after.strip() for _, after in runs) == ["-m 'not cluster' --ignore=tests/cluster", "tests/cluster"]
    assert all(f"{REQUIRE_ALL}=1 " in before for before, _ in runs)


def test_ci_runs_all_of_it() -> None:
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec make test"
