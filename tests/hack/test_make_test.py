"""`make test` never leaves out the cluster tier unasked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import REQUIRE_ALL, lacking

ROOT = Path(__file__).resolve().parents[2]
NEEDS_ROOT = "The cluster tier needs root: run make as root, or leave that tier out with EDGESMITH_SKIP_CLUSTER=1."
PASSED = "false is not Python 3.11 or newer"
"""What the step after the check says here: `false` stands for Python, so that nothing else is run."""


def inherited() -> dict[str, str]:
    """The variables of this process without what a run of make around it, or its user, chose for that run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("EDGESMITH_", "MAKE"))}


def make(target: str, folder: Path, user: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as it behaves for a user, in a tree whose virtual environment is not made yet."""
    (folder / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (folder / "id").chmod(0o755)
    environment = {**inherited(), **variables, "PATH": f"{folder}:{os.environ['PATH']}"}
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


SKIPS = """
import pytest
from needs import beside, lacking, left_out

def test_silent():
    pytest.skip("nobody reads this")

@pytest.mark.skipif(True, reason="nor this")
def test_marked():
    pass

def test_lacking():
    lacking("etcd is not compiled")

def test_left_out():
    left_out("training needs JAX")

def test_beside():
    beside("data/nothing.onnx")

@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError
"""


@pytest.mark.parametrize("whole", [True, False])
def test_a_whole_run_skips_nothing_in_silence(tmp_path: Path, *, whole: bool) -> None:
    for file in ("conftest.py", "services/needs.py"):
        (tmp_path / Path(file).name).write_text((ROOT / "tests" / file).read_text())
    (tmp_path / "test_skips.py").write_text(SKIPS)
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')")
    environment = {**os.environ, REQUIRE_ALL: "1" if whole else "0", "PYTHONPATH": str(tmp_path)}
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    line += ["--continue-on-collection-errors", "-c", os.devnull, str(tmp_path)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    said, last = done.stdout.partition("= left out =")[::2], done.stdout.splitlines()[-1]
    assert "1 of the tests: training needs JAX" in said[1]
    assert "1 of the tests: there is no ../shared/data/nothing.onnx beside the repository" in said[1]
    if not whole:
        assert (done.returncode, "6 skipped, 1 xfailed" in last) == (0, True), done.stdout
        return
    assert (done.returncode, "2 failed, 2 skipped, 1 xfailed, 2 errors" in last) == (1, True), done.stdout
    for words in ("nobody reads this (a whole run skips nothing", "nor this (a whole run", "etcd is not compiled"):
        assert words in said[0]


@pytest.mark.parametrize(("target", "select"), [("test", "-m 'not long' "), ("test-all", "")])
def test_every_tier_runs_and_none_may_lack_anything(target: str, select: str, tmp_path: Path) -> None:
    """Together the runs are all of tests/: what one leaves out, another one is."""
    line = ["make", "--dry-run", target, f"VENV={tmp_path / 'venv'}", "EDGESMITH_SKIP_CLUSTER=1"]
    done = subprocess.run(line, cwd=ROOT, env=inherited(), capture_output=True, text=True, timeout=60, check=True)
    printed = done.stdout
    runs = [words.partition("-m pytest")[::2] for words in printed.splitlines() if "-m pytest" in words]
    beside = [f"tests/cluster/test_{name}.py" for name in ("site_cluster", "image_modules")]
    three = [
        f"tests/cluster/test_{name}.py"
        for name in (
            "another_base",
            "arm64",
            "bad_input",
            "downgrade",
            "drift",
            "gitops",
            "held_device",
            "judged",
            "monitoring",
            "no_pods",
            "samples",
            "surge",
        )
    ]
    others = f"tests/cluster {' '.join(f'--ignore={file}' for file in beside + three)}"
    builds = [f"tests/{name}" for name in ("archive", "builder", "examples", "published")]
    ignored = " ".join(f"--ignore={path}" for path in ("tests/api", "tests/cluster", *builds))
    parts = [
        f"--timeout=600 {ignored}",
        f"--timeout=600 {' '.join(builds)}",
        "--timeout=600 tests/api",
        others,
        " ".join(three),
    ]
    if not select:
        parts.append(" ".join(beside))
    assert sorted(after.strip() for _, after in runs) == sorted(f"{select}{part}" for part in parts)
    assert all(f"{REQUIRE_ALL}=1 " in before for before, _ in runs)
    cut = [after.strip() for before, after in runs if "EDGESMITH_CUT_SECONDS=600 " in before]
    assert cut == ([] if select else [" ".join(three)]), "ten minutes without a line, where time is not short"


@pytest.mark.parametrize(("target", "runs"), [("tiers-on-small-clusters", 3), ("tiers-on-six-nodes", 2)])
def test_a_red_tier_hides_none_of_those_after_it(tmp_path: Path, target: str, runs: int) -> None:
    """What it runs says which tier it was told to run, and fails for the first one."""
    told, python = tmp_path / "told", tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ -e "{told}" ] && status=0 || status=1\necho "$@" >> "{told}"\nexit $status\n')
    python.chmod(0o755)
    line = ["make", target, f"PY={python}"]
    done = subprocess.run(line, cwd=ROOT, env=inherited(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, "a red tier makes the run red"
    assert len(set(told.read_text().splitlines())) == runs


def test_where_a_cluster_is_left_out_none_of_its_tests_would_have_run() -> None:
    for name in ("site_cluster", "image_modules"):
        (marks,) = re.findall(r"^pytestmark = .*$", (ROOT / f"tests/cluster/test_{name}.py").read_text(), re.MULTILINE)
        assert "pytest.mark.long" in marks, name


def test_ci_runs_all_of_it() -> None:
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec make test-all"


def test_the_docs_name_what_is_not_in_the_everyday_run() -> None:
    told = (ROOT / "docs/testing.md").read_text().partition("| long |")[2].partition("\n\n")[0]
    files = (path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    marked = {str(path.relative_to(ROOT)) for path in files if "pytest.mark.long" in path.read_text()}
    assert set(re.findall(r"tests/\S+?\.py", told)) == marked
