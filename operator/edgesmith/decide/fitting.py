"""Models that a device cannot hold, from what is known of their files: said before a build is made.

A build that is asked for all the same finds it out when the file comes, by the same bound, and says the same reason.
"""

from __future__ import annotations

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import Alternative, EdgeModel
from edgesmith.api.source import Compiled, Dataset, ModelFile
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
    if profile.memory is None:
        return None
    most = most_bytes(profile.memory)
    looked_at = recorded(model) | answered(model)
    for field, file in on_the_device(model, profile, alternative).items():
        entry = looked_at.get(field)
        known = file.bytes if entry is None else entry.bytes
        if known is not None and known > most:
            said = f"spec.{field}.bytes is" if entry is None else f"the file of spec.{field} has"
            whence = " (it may be left out)" if entry is None else " bytes (status.sources)"
            return (
                f"{said} {known}{whence}; at most {profile.spec.hardware.memory}, the memory of the device "
                f"(spec.hardware.memory of DeviceProfile {profile.metadata.name!r}), was expected."
            )
    return None


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
