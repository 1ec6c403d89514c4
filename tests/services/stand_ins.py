"""Programs that stand in for `docker`, `kind`, `kubectl` and `helm`: they keep what they are asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = (
    f"#!{sys.executable} -IS\n"
    """
import json, os, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
kubeconfig = words[words.index("--kubeconfig") + 1] if "--kubeconfig" in words else None
said = " ".join([name, *words]).replace(f" --kubeconfig {kubeconfig}", "")
reading = words[:1] == ["exec"] or words[-2:] == ["-f", "-"]
call = {"call": said.split(), "stdin": sys.stdin.read() if reading else "", "kubeconfig": kubeconfig}
call["user"] = os.environ.get("MINIO_ROOT_USER")
folder = os.environ["STAND_INS"]
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(json.dumps(call) + "\\n")
with open(os.path.join(folder, "answers")) as answers:
    known = json.load(answers)
print(known.get(max((start for start in known if said.startswith(start)), key=len, default=""), ""))
"""
)


class StandIns:
    """Stand-ins on PATH.

    Args:
        folder: Where they are kept.
        names: Of the programs.
        monkeypatch: What puts them on PATH.
    """

    def __init__(self, folder: Path, names: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._calls = folder / "calls"
        self._answers = folder / "answers"
        self._known: dict[str, str] = {}
        (folder / "bin").mkdir()
        for name in names:
            write_stand_in(folder / "bin" / name)
        self._calls.touch()
        self.answer({})
        monkeypatch.setenv("STAND_INS", str(folder))
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")

    def answer(self, answers: Mapping[str, str]) -> None:
        """Answer what starts with these words so from now on; the most words count."""
        self._known |= answers
        self._answers.write_text(json.dumps(self._known))

    def starting(self, words: str) -> list[dict[str, Any]]:
        """The calls that start with these words."""
        calls = [json.loads(line) for line in self._calls.read_text().splitlines()]
        return [call for call in calls if " ".join(call["call"]).startswith(words)]

    def text(self) -> str:
        """Everything that was kept of the calls."""
        return self._calls.read_text()


def write_stand_in(file: Path) -> None:
    """Write one of them."""
    file.write_text(_PROGRAM)
    file.chmod(0o755)
