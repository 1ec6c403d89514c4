"""The login to a registry that a command line names."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edgesmith.cli.arguments.shared import CREDENTIALS, CREDENTIALS_OPTION
from edgesmith_builder.oci import Credentials


def login_of(found: argparse.Namespace) -> Credentials | None:
    """The credentials of `--registry-credentials`; None where none are named.

    Raises:
        ValueError: They are none or cannot be read; without the path.
    """
    if not found.registry_credentials:
        return None
    inherited = found.registry_credentials == os.environ.get(CREDENTIALS)
    return Credentials.from_file(Path(found.registry_credentials), CREDENTIALS if inherited else CREDENTIALS_OPTION)
