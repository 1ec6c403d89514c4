"""`edgesmith profile list`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import GROUP
from edgesmith.cli.answer import Answer
from edgesmith.cli.command import command_of
from edgesmith.cli.profile.catalogue import catalogue
from edgesmith.cli.table import table
from edgesmith.decide.toolchain import toolchain_of

EVIDENCE = f"{GROUP}/evidence"
"""Annotation: whether a profile ran on such a device, was emulated, or was only written down."""


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command; without `--cluster`, nothing that asks one is imported.

    Raises:
        ClusterError: The cluster could not be asked.
    """
    return command_of("profile.in_cluster").run(found) if found.cluster else listing(catalogue(), (), found.output)


def listing(profiles: Sequence[DeviceProfile], unread: Sequence[str], output: str) -> Answer:
    """The profiles as a table, or as JSON for programs.

    Args:
        profiles: Those to show.
        unread: Sentences about those that this version cannot read.
        output: `text` or `json`.
    """
    rows = [_row(profile) for profile in sorted(profiles, key=lambda one: one.metadata.name)]
    if output == "json":
        return Answer(json.dumps({"profiles": rows, "unread": list(unread)}, indent=2))
    if not rows:
        return Answer("\n".join(["No DeviceProfiles found.", *unread]))
    header = ["NAME", "DEVICE", "ARCH", "TOOLCHAIN", "PRECISIONS", "SERVER", "RESOURCE", "KNOWN FROM"]
    return Answer("\n".join([table(header, [list(row.values()) for row in rows]), *unread]))


def _row(profile: DeviceProfile) -> dict[str, str]:
    hardware, runtime = profile.spec.hardware, profile.spec.runtime
    limits = (runtime.resources or {}).get("limits", {})
    return {
        "name": profile.metadata.name,
        "device": "; ".join(filter(None, (hardware.soc, hardware.accelerator))),
        "architecture": profile.spec.platform.architecture,
        "toolchain": profile.spec.toolchain.name,
        "precisions": _precisions(profile),
        "server": runtime.server,
        "resource": ", ".join(name for name in limits if "/" in name),
        "evidence": profile.metadata.annotations.get(EVIDENCE, ""),
    }


def _precisions(profile: DeviceProfile) -> str:
    try:
        return ", ".join(toolchain_of(profile).precisions)
    except ValueError:  # none is left; `validate` says so
        return ""
