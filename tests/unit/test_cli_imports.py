"""What a command imports is what a person waits for: help comes at once, and a command brings what it uses."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from edgesmith.cli.arguments import parser
from edgesmith.cli.command import command_of

HEAVY = {"asyncio", "pydantic", "yaml", "kubernetes", "aiohttp", "httpx", "cryptography", "edgesmith.decide"}
"""Each takes longer to import than everything that help needs."""
RUN = """
import contextlib, io, sys
from edgesmith.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main(sys.argv[1:])
print(*sys.modules)
"""


def loaded(*words: str) -> set[str]:
    """The modules that are loaded once a command has ended."""
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def leaves(of: argparse.ArgumentParser, *words: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command with the words that choose it."""
    below: list[Any] = [one for one in of._actions if isinstance(one, argparse._SubParsersAction)]
    if not below:
        yield words, of
    for name, one in below[0].choices.items() if below else ():
        yield from leaves(one, *words, name)


COMMANDS = dict(leaves(parser()))


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], [], ["nothing"], ["plan"], ["plan", "--help"], ["archive", "import", "--help"]],
    ids=" ".join,
)
def test_help_and_wrong_usage_import_nothing_that_takes_time(words: list[str]) -> None:
    assert not loaded(*words) & HEAVY


@pytest.mark.parametrize("words", [["profile", "list"], ["profile", "detect"], ["profile", "validate", "/nowhere"]])
def test_what_needs_no_cluster_imports_no_client_of_one(words: list[str]) -> None:
    found = loaded(*words)
    assert "edgesmith.decide" in found
    assert not found & {"asyncio", "kubernetes.aio.client", "aiohttp", "httpx"}


def test_what_the_kubernetes_client_brings_and_nobody_uses_is_not_imported() -> None:
    found = loaded("status", "--kubeconfig", "/nowhere")
    assert "kubernetes.aio.client" in found
    assert not found & {"requests", "oauthlib", "urllib3", "cryptography", "rich"}
    assert not found & {"kubernetes.config", "kubernetes.client", "kubernetes.aio.dynamic"}
    assert "edgesmith.cli.plan" not in found


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_code(words: tuple[str, ...]) -> None:
    module = COMMANDS[words].get_default("module")
    assert callable(command_of(module).run)
    assert COMMANDS[words].description
