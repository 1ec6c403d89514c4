"""The contracts on imports name every module that they are about: one that is new cannot be forgotten."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from edgesmith_builder.contract import TOOLCHAINS

ROOT = Path(__file__).parents[2]
BUILDER = ROOT / "builder/edgesmith_builder"
ENGINES = ROOT / "runtime/edgesmith_runtime/engine"
_CONTRACTS = {
    one["name"]: one
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
INDEPENDENT = set(_CONTRACTS["toolchains do not know each other"]["modules"])
FORMATS = set(_CONTRACTS["formats do not know each other"]["modules"])
TO_THE_LADDER = set(_CONTRACTS["the ladder knows no toolchain, no format and no engine"]["forbidden_modules"])


def defining(folder: Path, *names: str) -> set[str]:
    """The modules and folders of a folder that define all of these functions or constants, as they are imported."""
    found = set()
    for file in (*folder.glob("*.py"), *folder.glob("*/__init__.py")):
        body = ast.parse(file.read_text()).body
        defined = {one.name for one in body if isinstance(one, ast.FunctionDef)}
        defined |= {
            alias.asname or alias.name for one in body if isinstance(one, ast.ImportFrom) for alias in one.names
        }
        targets = [target for one in body if isinstance(one, ast.Assign) for target in one.targets]
        targets += [one.target for one in body if isinstance(one, ast.AnnAssign)]
        defined |= {target.id for target in targets if isinstance(target, ast.Name)}
        if defined >= set(names):
            path = file.parent if file.name == "__init__.py" else file.with_suffix("")
            found.add(".".join(path.relative_to(folder.parents[1]).parts))
    return found


def test_each_toolchain_has_a_module_and_is_in_both_contracts() -> None:
    there = defining(BUILDER / "toolchain", "refusal", "compile", "other_answers", "told_here")
    assert there == {f"edgesmith_builder.toolchain.{name.lower()}" for name in TOOLCHAINS}
    assert there == INDEPENDENT
    assert there == {name for name in TO_THE_LADDER if ".toolchain." in name}


@pytest.mark.parametrize("named", [FORMATS, {name for name in TO_THE_LADDER if ".format." in name}])
def test_each_format_is_in_both_contracts(named: set[str]) -> None:
    assert defining(BUILDER / "format", "recognises") == named


def test_each_engine_is_kept_from_the_ladder() -> None:
    assert defining(ENGINES, "load") == {name for name in TO_THE_LADDER if ".engine." in name}
