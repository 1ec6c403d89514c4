"""A command's code, imported by its name."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Protocol, cast

from edgesmith.cli.answer import Answer


class Command(Protocol):
    """A module that carries out one command."""

    def run(self, found: argparse.Namespace) -> Answer:
        """Carry it out.

        Raises:
            ClusterError: The cluster could not be asked.
            RegistryError: A registry could not be asked.
            ValueError: What was asked for cannot be done; one sentence.
            OSError: A file cannot be read or written.
        """


def command_of(module: str) -> Command:
    """Import a command: `status`, or `profile.detect`."""
    return cast("Command", import_module(f"edgesmith.cli.{module}"))
