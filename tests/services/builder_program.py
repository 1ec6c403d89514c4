"""The builder as its own program, as a Job runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgesmith_builder.contract import BuildRequest


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
