"""How the operator is started: flags for people, environment variables for the chart."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgesmith.api.names import DEFAULT_NAMESPACE
from edgesmith.cluster.configuration import SettingsError, namespaces_in

VARIABLES = {
    "EDGESMITH_NAMESPACE": f"The operator's namespace, where its Lease is. Default `{DEFAULT_NAMESPACE}`.",
    "EDGESMITH_POD_NAME": "Who holds the Lease and reports events. Default: the host's name and the process's number.",
    "EDGESMITH_PROBE_PORT": "Port of `/healthz`, `/readyz` and `/metrics`; 0 for none. Default 8080, with `--dev` 0.",
    "EDGESMITH_REGISTRY_CREDENTIALS": "Path of a `.dockerconfigjson` for the registry. Default: anonymous.",
    "EDGESMITH_LOG_LEVEL": "`debug`, `info`, `warning` or `error`. Default `info`.",
}
"""Every variable besides the settings, with its meaning; a test holds the documentation to it."""

_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Options:
    """How this process runs."""

    namespace: str
    namespaces: tuple[str, ...]
    """Where EdgeModels are looked after; empty for every namespace."""
    holder: str
    probe_port: int
    registry_credentials: str | None
    log_level: str
    dev: bool
    kubeconfig: str | None
    context: str | None


def options_from(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read flags and environment.

    Raises:
        SettingsError: A variable cannot be read.
        SystemExit: A flag is unknown, or help was asked for.
    """
    parser = argparse.ArgumentParser(prog="edgesmith.controller", description="The Edgesmith operator.")
    parser.add_argument(
        "--dev",
        action="store_true",
        help="run outside the cluster with the current kubeconfig, and with the settings of the installed operator "
        "where the environment does not say otherwise",
    )
    parser.add_argument("--kubeconfig", help="kubeconfig to use with --dev")
    parser.add_argument("--context", help="its context to use with --dev")
    found = parser.parse_args(arguments)
    port = environment.get("EDGESMITH_PROBE_PORT", "0" if found.dev else "8080")
    if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        raise SettingsError(f"EDGESMITH_PROBE_PORT is {port!r}; a port between 0 and 65535 was expected")
    level = environment.get("EDGESMITH_LOG_LEVEL", "info").lower()
    if level not in _LEVELS:
        raise SettingsError(f"EDGESMITH_LOG_LEVEL is {level!r}; one of {', '.join(_LEVELS)} was expected")
    namespace = environment.get("EDGESMITH_NAMESPACE") or DEFAULT_NAMESPACE
    return Options(
        namespace=namespace,
        namespaces=_namespaces(environment, namespace),
        # A process outside the cluster has no name of its own: two on one machine must not take themselves for one.
        holder=environment.get("EDGESMITH_POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
        probe_port=int(port),
        registry_credentials=environment.get("EDGESMITH_REGISTRY_CREDENTIALS") or None,
        log_level=level,
        dev=found.dev,
        kubeconfig=found.kubeconfig,
        context=found.context,
    )


def _namespaces(environment: Mapping[str, str], own: str) -> tuple[str, ...]:
    """Where to work. The operator's own namespace is among them: the Lease that is watched is there."""
    names = namespaces_in(environment)
    return tuple(sorted({*names, own})) if names else ()
