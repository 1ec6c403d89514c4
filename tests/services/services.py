"""Real servers for one test run: each binds port 0 and says in its log where it listens."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path
from typing import IO

import pytest
from needs import lacking

from edgesmith_cluster.tools import binaries
from tests.patience import PATIENCE


def tool(name: str) -> Path:
    """A compiled program."""
    path = binaries() / name
    if not path.exists():
        lacking(f"{name} is not compiled yet: run `make tools`")
    return path


class Server:
    """A program that says in its log where it listens."""

    def __init__(self, command: list[str], says: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            text=True,
        )
        output = self.process.stdout
        assert output is not None
        seen = []
        for line in output:
            seen.append(line)
            found = re.search(says, line)
            if found:
                self.address = found[1]
                break
        else:
            pytest.fail(f"{command[0]} ended before it listened: {''.join(seen)}")
        threading.Thread(target=_drain, args=(output,), daemon=True).start()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()


def _drain(output: IO[str]) -> None:
    try:
        for _ in output:
            pass
    except ValueError:
        pass  # closed while reading, as stop() does


def start_registry(
    folder: Path,
    extra: str = "",
    storage: str = "delete: {enabled: true}",
    *,
    driver: str | None = None,
    tls: tuple[Path, Path] | None = None,
) -> Server:
    """A registry of its own; `extra` is more YAML, `storage` more of that section, `driver` where blobs lie.

    With `tls`, a certificate and its key, it speaks nothing else.
    """
    secured = f", tls: {{certificate: {tls[0]}, key: {tls[1]}}}" if tls else ""
    lies = driver or f"filesystem: {{rootdirectory: {folder}/data}}"
    (folder / "config.yml").write_text(
        f'version: 0.1\nstorage: {{{lies}, {storage}}}\nhttp: {{addr: "127.0.0.1:0"{secured}}}\n{extra}'
    )
    command = [str(tool("registry")), "serve", str(folder / "config.yml")]
    return Server(command, r"listening on (127\.0\.0\.1:\d+)", {"OTEL_TRACES_EXPORTER": "none"})


STORE_USER, STORE_PASSWORD = "store-user", "store-password"
"""The root of each MinIO that `start_minio` starts."""


def start_minio(folder: Path, *words: str, **more: str) -> Server:
    """A MinIO of its own with its data in `folder`; `words` are for its command line, `more` for its environment."""
    names = {"MINIO_ROOT_USER": STORE_USER, "MINIO_ROOT_PASSWORD": STORE_PASSWORD, "MINIO_UPDATE": "off", **more}
    command = [str(tool("minio")), "server", "--address", "127.0.0.1:0", *words, str(folder)]
    return Server(command, r"API: https?://(127\.0\.0\.1:\d+)", names)
