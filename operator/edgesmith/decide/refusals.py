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
from edgesmith.api.units import parse_bytes
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.profiles import Resolved, resolve
from edgesmith.decide.settings import Settings
from edgesmith.decide.toolchain import base_image, flavour_of
from edgesmith_builder.contract import TOOLCHAINS, wrong_options, wrong_precisions

Check = Callable[[EdgeModel, DeviceProfile, Settings], tuple[Reason, str] | None]
"""Gives a reason, and a sentence without its subject and its end, where a profile is refused."""


def usable(model: EdgeModel, profiles: Sequence[DeviceProfile], settings: Settings) -> Resolved:
    """The profiles that an EdgeModel names, without those that nothing can be built or served for.

    Args:
        model: The EdgeModel.
        profiles: Every DeviceProfile.
        settings: The installation's.
    """
    resolved = resolve(model, profiles)
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
    wanted = profile.spec.toolchain
    facts = TOOLCHAINS[wanted.name]
    wrong = wrong_options(wanted.name, wanted.options) or wrong_precisions(wanted.name, wanted.precisions or ())
    if wrong is not None:
        return Reason.PROFILE_INVALID, f"spec.toolchain.{wrong}"
    both = [one for one in wanted.precisions or () if one in wanted.impossible]
    if both:
        because = wanted.impossible[both[0]].rstrip(".")
        why = (
            f"spec.toolchain.precisions has {both[0]}, and so has spec.toolchain.impossible ({because}); "
            "one of the two was expected"
        )
        return Reason.PROFILE_INVALID, why
    if not wanted.precisions and set(facts.precisions) <= set(wanted.impossible):
        why = (
            f"spec.toolchain.impossible has {', '.join(facts.precisions)}, all that {wanted.name} tries by itself; "
            "spec.toolchain.precisions was expected"
        )
        return Reason.PROFILE_INVALID, why
    return None


def _release(_model: EdgeModel, profile: DeviceProfile, _settings: Settings) -> tuple[Reason, str] | None:
    """What is in the API and not in this release."""
    toolchain = profile.spec.toolchain.name
    if not TOOLCHAINS[toolchain].available:
        there = ", ".join(name for name, facts in TOOLCHAINS.items() if facts.available)
        why = (
            f"spec.toolchain.name is {toolchain}, and the builder of this release has no toolchain {toolchain}; "
            f"one of {there} was expected"
        )
        return Reason.NOT_IN_THIS_RELEASE, why
    return None


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


def _memory(model: EdgeModel, profile: DeviceProfile, _settings: Settings) -> tuple[Reason, str] | None:
    """What asks for more memory than the device has; where the EdgeModel says something, the profile gives way."""
    if profile.memory is None:
        return None
    of_model, of_profile = model.spec.serving.resources or {}, profile.spec.runtime.resources or {}
    asked = {"spec.gates.maxMemory": model.spec.gates.max_memory}
    for section in ("limits", "requests"):
        asked[f"spec.serving.resources.{section}.memory"] = of_model.get(section, {}).get("memory")
    for field, value in asked.items():
        if value is not None and _is_more(value, profile.memory):
            return Reason.DEVICE_TOO_SMALL, f"the EdgeModel's {field} is {value}; {_at_most(profile)}"
    for section in ("limits", "requests"):
        value = of_profile.get(section, {}).get("memory")
        replaced = "memory" in of_model.get(section, {})
        if value is not None and not replaced and _is_more(value, profile.memory):
            return Reason.PROFILE_INVALID, f"spec.runtime.resources.{section}.memory is {value}; {_at_most(profile)}"
    return None


def _is_more(value: str | int, memory: int) -> bool:
    try:
        return parse_bytes(value) > memory
    except ValueError:  # more than anything has
        return True


def _at_most(profile: DeviceProfile) -> str:
    return f"at most {profile.spec.hardware.memory} was expected, its spec.hardware.memory"


_CHECKS: tuple[Check, ...] = (_toolchain, _release, _server, _base_image, _memory)
