"""What a DeviceProfile asks of the builder, with what it leaves open filled in."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import Alternative, EdgeModel
from edgesmith.api.source import Compiled
from edgesmith.decide.settings import Settings
from edgesmith_builder.contract import TOOLCHAINS, Precision, Toolchain, ToolchainName


def toolchain_of(profile: DeviceProfile, *, compiled: bool = False) -> Toolchain:
    """What compiles for a profile. Where it names no precisions: the toolchain's own that its hardware can run.

    Args:
        profile: The profile.
        compiled: Whether the EdgeModel brings the compiled file, so that no compiler is needed.

    Raises:
        ValueError: None is left.
    """
    wanted = profile.spec.toolchain
    own = tuple(one for one in TOOLCHAINS[wanted.name].precisions if why_impossible(one, wanted.impossible) is None)
    return Toolchain(
        name=wanted.name,
        precisions=wanted.precisions or own,
        options=wanted.options,
        compiler_image=None if compiled else wanted.compiler_image,
    )


def why_impossible(precision: Precision, impossible: Mapping[str, str]) -> str | None:
    """Why hardware cannot run a precision; None where it can. What cannot run int8 cannot run a kind of it either."""
    return next((why for one, why in impossible.items() if precision == one or precision.startswith(f"{one}-")), None)


def compiled_for(model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None = None) -> Compiled | None:
    """The file that the EdgeModel brings compiled already for a profile's toolchain; None: it brings none.

    Args:
        model: The EdgeModel.
        profile: The profile.
        alternative: Of which alternative; None: of the source.
    """
    files = alternative.compiled if alternative else model.spec.compiled
    return next((one for one in files if one.toolchain == profile.spec.toolchain.name), None)


def flavour_of(profile: DeviceProfile) -> str:
    """The flavour of the runtime base image that has what the profile's server needs."""
    return "triton" if profile.spec.runtime.server == "Triton" else TOOLCHAINS[profile.spec.toolchain.name].flavour


def builder_image(name: ToolchainName, settings: Settings) -> str | None:
    """The builder's image for a toolchain, by digest; None: the installation has none with what it compiles with."""
    flavour = TOOLCHAINS[name].builder
    return settings.builder_image if flavour is None else settings.builder_images.get(flavour)


def base_image(profile: DeviceProfile, settings: Settings) -> str | None:
    """The runtime base image that variants for a profile are made over, by digest: its own, or the installation's.

    None: neither has one.
    """
    return profile.spec.runtime.base_image or settings.runtime_images.get(flavour_of(profile))
