"""Models that a device or a server's pod cannot hold, from what is known of their files: said before a build is made.

A build that is asked for all the same finds out when the file comes what the device cannot hold, and says the same
reason. Of the pod's limit it knows nothing: that is no part of what an image is made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from operator import itemgetter

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import Alternative, EdgeModel
from edgesmith.api.source import Compiled, Dataset, ModelFile
from edgesmith.api.units import parse_bytes
from edgesmith.decide.digests import answered, files_for, recorded
from edgesmith_builder.contract import most_bytes

_ON_THE_DEVICE = ("source", "compiled")
"""Files of a build that are made into what the device holds; what an alternative is held against stays here."""


def why_too_large(model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None = None) -> str | None:
    """Why a build's model cannot be on a profile's devices, in one sentence; None where it can, or nobody knows.

    Args:
        model: The EdgeModel.
        profile: The profile.
        alternative: Which model; None: that of `spec.source`.
    """
    bounds = list(_bounds(model, profile))
    if not bounds:
        return None
    most, words = min(bounds, key=itemgetter(0))
    looked_at = recorded(model) | answered(model)
    for field, file in on_the_device(model, profile, alternative).items():
        entry = looked_at.get(field)
        known = file.bytes if entry is None else entry.bytes
        if known is not None and known > most:
            said = f"spec.{field}.bytes is" if entry is None else f"the file of spec.{field} has"
            whence = " (it may be left out)" if entry is None else " bytes (status.sources)"
            return f"{said} {known}{whence}; at most {words}, was expected."
    return None


def _bounds(model: EdgeModel, profile: DeviceProfile) -> Iterator[tuple[int, str]]:
    """What a model has to fit into, as far as somebody has said it: the most bytes, and what has them."""
    of_profile = f"of DeviceProfile {profile.metadata.name!r}"
    if profile.memory is not None:
        said = profile.spec.hardware.memory
        yield most_bytes(profile.memory), f"{said}, the memory of the device (spec.hardware.memory {of_profile})"
    limits = (
        (model.spec.serving.resources, "spec.serving.resources.limits.memory"),
        (profile.spec.runtime.resources, f"spec.runtime.resources.limits.memory {of_profile}"),
    )
    for resources, field in limits:
        limit = (resources or {}).get("limits", {}).get("memory")
        if limit is not None:
            with suppress(ValueError):  # more than anything has
                yield most_bytes(parse_bytes(limit)), f"{limit}, the memory limit of its pods ({field})"
            return  # the EdgeModel's takes the place of the profile's


def on_the_device(
    model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None = None
) -> dict[str, ModelFile | Compiled]:
    """The files of a build that are made into what the device holds, by their field.

    Args:
        model: The EdgeModel.
        profile: The profile.
        alternative: Which model; None: that of `spec.source`.
    """
    files = files_for(model, profile, alternative)
    found = (files[name] for name in _ON_THE_DEVICE if name in files)
    return {field: file for field, file in found if not isinstance(file, Dataset)}
