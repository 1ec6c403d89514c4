"""What a DeviceProfile asks of the builder, with what it leaves open filled in."""

from __future__ import annotations

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.decide.settings import Settings
from edgesmith_builder.contract import TOOLCHAINS, Toolchain


def toolchain_of(profile: DeviceProfile) -> Toolchain:
    """What compiles for a profile. Where it names no precisions: the toolchain's own that its hardware can run.

    Raises:
        ValueError: None is left.
    """
    wanted = profile.spec.toolchain
    own = tuple(one for one in TOOLCHAINS[wanted.name].precisions if one not in wanted.impossible)
    return Toolchain(name=wanted.name, precisions=wanted.precisions or own, options=wanted.options)


def flavour_of(profile: DeviceProfile) -> str:
    """The flavour of the runtime base image that has what the profile's server needs."""
    return "triton" if profile.spec.runtime.server == "Triton" else TOOLCHAINS[profile.spec.toolchain.name].engine


def base_image(profile: DeviceProfile, settings: Settings) -> str | None:
    """The runtime base image that variants for a profile are made over, by digest: its own, or the installation's.

    None: neither has one.
    """
    return profile.spec.runtime.base_image or settings.runtime_images.get(flavour_of(profile))
