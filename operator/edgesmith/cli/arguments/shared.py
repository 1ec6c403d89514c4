"""Options that several commands have."""

from __future__ import annotations

import argparse
import os
from typing import TypeAlias

from edgesmith.api.names import DEFAULT_NAMESPACE

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - see below
"""What commands are added to; argparse has no public name for it."""

CREDENTIALS = "EDGESMITH_REGISTRY_CREDENTIALS"
CREDENTIALS_OPTION = "--registry-credentials"


def output() -> argparse.ArgumentParser:
    """`-o`."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text for people, or JSON")
    return options


def asking() -> argparse.ArgumentParser:
    """Which cluster is asked, and how the answer is written."""
    options = argparse.ArgumentParser(add_help=False, parents=[output()])
    options.add_argument("--kubeconfig", help="kubeconfig; KUBECONFIG or ~/.kube/config where absent")
    options.add_argument("--context", help="one of the kubeconfig's contexts")
    options.set_defaults(namespace=None)
    return options


def common() -> argparse.ArgumentParser:
    """The same, and which namespace is meant."""
    options = argparse.ArgumentParser(add_help=False, parents=[asking()])
    options.add_argument("-n", "--namespace", help="namespace; the kubeconfig's where absent")
    return options


def login() -> argparse.ArgumentParser:
    """How to log in to a registry."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        CREDENTIALS_OPTION,
        default=os.environ.get(CREDENTIALS),
        metavar="FILE",
        help="a .dockerconfigjson, where the registry asks for a login",
    )
    return options


def operator() -> argparse.ArgumentParser:
    """Where the operator's settings are."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--operator-namespace",
        default=os.environ.get("EDGESMITH_NAMESPACE") or DEFAULT_NAMESPACE,
        help="where the operator is installed (default: %(default)s)",
    )
    return options
