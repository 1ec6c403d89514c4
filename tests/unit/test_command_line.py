"""What the command line says without a cluster."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from edgesmith.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples/digits/edgemodel.yaml"


def test_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"edgesmith {version('edgesmith')}\n"


@pytest.mark.parametrize("command", [["status"], ["plan", "-f", str(EXAMPLE)]])
def test_without_a_kubeconfig(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--kubeconfig", "/nowhere/config"]) == 1
    assert capsys.readouterr().err == (
        "edgesmith: No cluster: the kubeconfig /nowhere/config does not exist; set KUBECONFIG or pass --kubeconfig\n"
    )
