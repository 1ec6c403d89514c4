"""The DeviceProfiles of this release, as the chart has them, and those of a file."""

from __future__ import annotations

from importlib.resources import files

import yaml

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.cli.documents import DocumentError, load
from edgesmith.cli.profile.judge import judge


def catalogue() -> list[DeviceProfile]:
    """The chart's profiles, in the order of their names; `make generate` packs them beside this module."""
    text = files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return [DeviceProfile.model_validate(document) for document in yaml.safe_load_all(text)]


def profiles_of(path: str) -> list[DeviceProfile]:
    """The profiles of a file; `-` is standard input.

    Raises:
        DocumentError: It cannot be read, or one of them is wrong.
    """
    profiles = []
    for number, document in enumerate(load(path), start=1):
        profile, faults = judge(document)
        if profile is None:
            raise DocumentError(f"{path}: document {number}: {faults[0]}")
        profiles.append(profile)
    return profiles
