"""The builder as its own program, as a Job runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import BuildRequest

BUILDER = """
import pathlib, subprocess, sys
from edgesmith_builder.apart import run_apart
from edgesmith_builder.arguments import parse

def program():
    from edgesmith_builder import cli, forms, gather
    from edgesmith_builder.ladder import rung
    from edgesmith_builder.ladder.yardstick import Yardstick
    from edgesmith_builder.rebase import taken
    from edgesmith_builder.toolchain import onnxruntime
    from edgesmith_builder.sets import DataSet
    from edgesmith_runtime.picture import Pipeline
    def instead(owner, name, crash, form):
        real = getattr(owner, name)
        def wrapped(*given, **named):
            if form is None or form in given:
                exec(crash)
            return real(*given, **named)
        setattr(owner, name, wrapped)
    {crashes}
    return cli.main()

options = parse(sys.argv[1:])
sys.exit(run_apart(program, options.termination_log, options.candidate_seconds))
"""
"""The program with functions that do something else first."""


def command(folder: Path, request: BuildRequest, store: Any, *more: str) -> list[str]:
    """A command line, with the Secret as a folder of files."""
    secret = folder / "secret"
    secret.mkdir(exist_ok=True)
    for name, value in {
        "AWS_ACCESS_KEY_ID": store.settings.access_key,
        "AWS_SECRET_ACCESS_KEY": store.settings.secret_key,
        "AWS_ENDPOINT_URL": store.settings.endpoint,
    }.items():
        (secret / name).write_text(f"{value}\n")
    (folder / "request.json").write_text(request.to_json())
    (folder / "work").mkdir(exist_ok=True)
    return [
        sys.executable, "-m", "edgesmith_builder", "--request", str(folder / "request.json"),
        "--credentials", str(secret), "--termination-log", str(folder / "log"), "--work", str(folder / "work"), *more,
    ]  # fmt: skip


def run(line: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, capture_output=True, text=True, timeout=280, check=False, env={**os.environ, **environment}
    )


def build(
    world: Any, folder: Path, request: BuildRequest, crashes: list[tuple[str, str, str | None]], *more: str
) -> subprocess.CompletedProcess[str]:
    """Build as the program does, where functions do something else first; each is `OWNER.NAME`, code, for which form.

    The code runs where a form is among the function's arguments; None: at each call.
    """
    lines = [f"instead({where.rpartition('.')[0]}, {where.rpartition('.')[2]!r}, {code!r}, {form!r})"
             for where, code, form in crashes]  # fmt: skip
    line = command(folder, request, world.store, *more)
    return run([sys.executable, "-c", BUILDER.format(crashes="; ".join(lines)), *line[3:]])
