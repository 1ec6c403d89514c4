"""The login to a registry that a command line names."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgesmith_builder.oci import Credentials


def login_of(found: argparse.Namespace) -> Credentials | None:
    """The credentials of `--registry-credentials`; None where none are named.

    Raises:
        ValueError: They are none.
        OSError: They cannot be read.
    """
    return Credentials.from_file(Path(found.registry_credentials)) if found.registry_credentials else None
