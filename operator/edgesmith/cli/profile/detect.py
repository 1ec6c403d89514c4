"""`edgesmith profile detect`."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.names import GROUP
from edgesmith.cli.answer import Answer
from edgesmith.cli.profile.catalogue import catalogue, profiles_of
from edgesmith.cli.profile.facts import Device, read_facts
from edgesmith.cli.table import size
from edgesmith.decide.detect import Facts, Fit, fitting, short_of_memory

NOTES = f"{GROUP}/notes"
"""Annotation: what to know before a device is used so, and what works where its vendor has stopped."""

_WIDTH = 110
_LABEL = 16


def run(found: argparse.Namespace) -> Answer:
    """Carry out the command.

    Raises:
        ValueError: `--root` is no folder, or a file of profiles cannot be read.
    """
    profiles = [*catalogue(), *(profile for file in found.file for profile in profiles_of(file))]
    return detect(read_facts(found.root), profiles, found.output)


def detect(device: Device, profiles: Sequence[DeviceProfile], output: str) -> Answer:
    """What was read, the profiles that fit with their reasons, the best first, and the label for the node.

    Args:
        device: As it was read.
        profiles: To choose from.
        output: `text`, `name` or `json`.
    """
    fits = fitting(profiles, device.facts)
    status = 0 if fits else 1
    if output == "name":
        return Answer(fits[0].profile.metadata.name if fits else "", status)
    if output == "json":
        return Answer(json.dumps(_entry(device, fits), indent=2), status)
    return Answer("\n".join([*_about(device), "", *_about_fits(device.facts, fits)]), status)


def label_of(profile: DeviceProfile) -> str:
    """The labels that a node of the profile needs besides those that every node has: `KEY=VALUE`, one after another."""
    own = {key: value for key, value in profile.spec.node_selector.items() if not key.startswith("kubernetes.io/")}
    return " ".join(f"{key}={value}" for key, value in own.items())


def _notes(profile: DeviceProfile, facts: Facts) -> list[str]:
    """What a person should know before the node gets the label."""
    said = profile.metadata.annotations.get(NOTES)
    notes = [said] if said else []
    if short_of_memory(profile, facts):
        notes.append(
            f"the device has {size(facts.memory)} of memory and the profile says {profile.spec.hardware.memory}; "
            "a copy of the profile with the device's own memory was expected"
        )
    return notes


def _about(device: Device) -> list[str]:
    facts = device.facts
    board = f"{facts.model} ({', '.join(facts.compatible)})" if facts.compatible else "no device tree"
    said = {
        "architecture": facts.architecture,
        "board": board,
        "memory": size(facts.memory),
        "PCI": ", ".join(sorted({f"{one.vendor}:{one.device}[{one.class_}]" for one in facts.pci})),
        "USB": ", ".join(sorted({f"{one.vendor}:{one.product}" for one in facts.usb})),
        "CPU features": " ".join(sorted(facts.cpu_features)),
    }
    lines = ["The device:"]
    for name, value in said.items():
        indent = " " * _LABEL
        lines += textwrap.wrap(value or "-", _WIDTH, initial_indent=f"  {name}".ljust(_LABEL), subsequent_indent=indent)
    return lines + [f"  not read: {one}" for one in device.unread]


def _about_fits(facts: Facts, fits: Sequence[Fit]) -> list[str]:
    if not fits:
        hint = (
            " In a container, the device tree is hidden: mount the host's /sys and /proc, and name them with --root."
            if facts.architecture == "arm64" and not facts.compatible
            else ""
        )
        return [f"No profile fits.{hint}"]
    lines = ["Profiles that fit, the best first:"]
    for one in fits:
        lines.append(f"  {one.profile.metadata.name}: {'; '.join(one.reasons)}")
        for note in _notes(one.profile, facts):
            lines += textwrap.wrap(note, _WIDTH, initial_indent="    note: ", subsequent_indent=" " * 10)
    return [*lines, "", f"kubectl label node NODE {label_of(fits[0].profile)}"]


def _entry(device: Device, fits: Sequence[Fit]) -> dict[str, Any]:
    facts = device.facts
    return {
        "device": {
            "architecture": facts.architecture,
            "model": facts.model,
            "compatible": list(facts.compatible),
            "pci": [{"vendor": one.vendor, "device": one.device, "class": one.class_} for one in facts.pci],
            "usb": [asdict(one) for one in facts.usb],
            "cpuFeatures": sorted(facts.cpu_features),
            "memory": facts.memory,
        },
        "unread": list(device.unread),
        "fits": [
            {
                "profile": one.profile.metadata.name,
                "reasons": list(one.reasons),
                "notes": _notes(one.profile, device.facts),
                "label": label_of(one.profile),
            }
            for one in fits
        ],
    }
