"""Profiles that nothing can be built or served for, and why: said before anything is tried.

A refused profile is one that the EdgeModel cannot use: nothing is built or rolled out for it, its nodes keep what they
run, and the other profiles go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgesmith.api.conditions import Reason
from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.faults import at_most, is_more_than, memory_faults, toolchain_faults
from edgesmith.decide.profiles import Resolved, resolve, resolve_names
from edgesmith.decide.settings import Settings
from edgesmith.decide.toolchain import base_image, builder_image, compiled_for, flavour_of
from edgesmith_builder.contract import TOOLCHAINS

Check = Callable[[EdgeModel, DeviceProfile, Settings], tuple[Reason, str] | None]
"""Gives a reason, and a sentence without its subject and its end, where a profile is refused."""


def usable(model: EdgeModel, profiles: Sequence[DeviceProfile], settings: Settings) -> Resolved:
    """The profiles that an EdgeModel names, without those that nothing can be built or served for.

    Args:
        model: The EdgeModel.
        profiles: Every DeviceProfile.
        settings: The installation's.
    """
    return _without_refused(resolve(model, profiles), model, settings)


def named(
    model: EdgeModel, names: Sequence[str], profiles: Sequence[DeviceProfile], settings: Settings, *, field: str
) -> Resolved:
    """The profiles of some names, without those that nothing can be built or served for.

    Args:
        model: The EdgeModel.
        names: The names, each once.
        profiles: Every DeviceProfile.
        settings: The installation's.
        field: Where the names are from, for messages.
    """
    return _without_refused(resolve_names(model, names, profiles, field=field), model, settings)


def _without_refused(resolved: Resolved, model: EdgeModel, settings: Settings) -> Resolved:
    refused = {
        one.metadata.name: found for one in resolved.profiles if (found := refusal(model, one, settings)) is not None
    }
    return replace(
        resolved,
        profiles=tuple(one for one in resolved.profiles if one.metadata.name not in refused),
        refused={**resolved.refused, **refused},
    )


def refusal(model: EdgeModel, profile: DeviceProfile, settings: Settings) -> Finding | None:
    """Why nothing can be built or served for a profile; the first that is found."""
    for check in _CHECKS:
        found = check(model, profile, settings)
        if found is not None:
            reason, why = found
            return Finding(
                Severity.STALLED,
                reason,
                f"DeviceProfile {profile.metadata.name!r}: {why}; its nodes keep what they run.",
            )
    return None


def _toolchain(_model: EdgeModel, profile: DeviceProfile, _settings: Settings) -> tuple[Reason, str] | None:
    """What a profile asks of its toolchain, held against the toolchain's own table."""
    wrong = next(toolchain_faults(profile), None)
    return None if wrong is None else (Reason.PROFILE_INVALID, wrong)


def _compiler(model: EdgeModel, profile: DeviceProfile, _settings: Settings) -> tuple[Reason, str] | None:
    """A compiler that is no part of the builder: where there must be one, and where there must be none."""
    wanted = profile.spec.toolchain
    if not TOOLCHAINS[wanted.name].compiler:
        if wanted.compiler_image is None:
            return None
        why = (
            f"spec.toolchain.compilerImage is {wanted.compiler_image}, and {wanted.name} takes none; none was expected"
        )
        return Reason.PROFILE_INVALID, why
    if wanted.compiler_image is not None or compiled_for(model, profile) is not None:
        return None
    why = (
        f"the compiler of {wanted.name} is its vendor's and no part of the builder; a compiled file in the EdgeModel's "
        "spec.compiled or an image with the compiler in spec.toolchain.compilerImage was expected"
    )
    return Reason.COMPILER_NOT_SET, why


def _server(_model: EdgeModel, profile: DeviceProfile, _settings: Settings) -> tuple[Reason, str] | None:
    """Which server runs what a toolchain makes."""
    toolchain, server = profile.spec.toolchain.name, profile.spec.runtime.server
    servers = TOOLCHAINS[toolchain].servers
    if server in servers:
        return None
    expected = " or ".join(servers)
    why = f"spec.runtime.server is {server}, which does not run what {toolchain} makes; {expected} was expected"
    return Reason.PROFILE_INVALID, why


def _base_image(_model: EdgeModel, profile: DeviceProfile, settings: Settings) -> tuple[Reason, str] | None:
    if base_image(profile, settings) is not None:
        return None
    flavour = flavour_of(profile)
    why = (
        f"it needs a runtime base image with {flavour}, and spec.runtime.baseImage is absent; that or the Helm value "
        f"image.runtime.{flavour} was expected"
    )
    return Reason.RUNTIME_IMAGE_NOT_SET, why


def _builder_image(_model: EdgeModel, profile: DeviceProfile, settings: Settings) -> tuple[Reason, str] | None:
    name = profile.spec.toolchain.name
    if not settings.builds or builder_image(name, settings) is not None:
        return None
    why = (
        f"{name} compiles with its vendor's packages, which the builder of this installation has not; the Helm value "
        f"image.builders.{TOOLCHAINS[name].builder} was expected"
    )
    return Reason.BUILDER_IMAGE_NOT_SET, why


def _memory(model: EdgeModel, profile: DeviceProfile, _settings: Settings) -> tuple[Reason, str] | None:
    """What asks for more memory than the device has; where the EdgeModel says something, the profile gives way."""
    of_model = model.spec.serving.resources or {}
    asked = {"spec.gates.maxMemory": model.spec.gates.max_memory}
    for section in ("limits", "requests"):
        asked[f"spec.serving.resources.{section}.memory"] = of_model.get(section, {}).get("memory")
    for field, value in asked.items():
        if value is not None and is_more_than(profile, value):
            return Reason.DEVICE_TOO_SMALL, f"the EdgeModel's {field} is {value}; {at_most(profile)}"
    for section, wrong in memory_faults(profile):
        if "memory" not in of_model.get(section, {}):
            return Reason.PROFILE_INVALID, wrong
    return None


_CHECKS: tuple[Check, ...] = (_toolchain, _server, _compiler, _builder_image, _base_image, _memory)
