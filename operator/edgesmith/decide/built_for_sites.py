"""Profiles that an EdgeModel is built for so that clusters at sites find the builds: `spec.builds.profiles`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from edgesmith.api.conditions import Reason
from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.builds import BuildState, builds_for
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.contestants import Contestants
from edgesmith.decide.profiles import Resolved
from edgesmith.decide.refusals import named, usable
from edgesmith.decide.settings import Settings
from edgesmith_builder.contract import Build


def for_sites(model: EdgeModel, settings: Settings) -> frozenset[str]:
    """The names in `spec.builds.profiles`; none where no builds are made."""
    return frozenset(model.spec.builds.profiles) if settings.builds else frozenset()


def only_built(model: EdgeModel, profiles: Sequence[DeviceProfile], settings: Settings) -> Resolved:
    """The profiles that are built for and rolled out to no node: those that `spec.deviceProfiles` does not pick.

    Args:
        model: The EdgeModel.
        profiles: Every DeviceProfile.
        settings: The installation's.
    """
    own = usable(model, profiles, settings)
    picked = {*own.unusable, *(one.metadata.name for one in own.profiles)}
    found = named(model, sorted(for_sites(model, settings) - picked), profiles, settings, field="spec.builds.profiles")
    return Resolved(found.profiles, (), {**found.refused, **{name: _missing(name) for name in found.missing}})


def wanted(
    model: EdgeModel, profiles: Sequence[DeviceProfile], settings: Settings
) -> dict[tuple[str, str | None], Build]:
    """The builds of every profile that the EdgeModel names and can use, by the profile's and the alternative's name.

    Without those for which the digest of a file is not known yet.

    Args:
        model: The EdgeModel.
        profiles: Every DeviceProfile.
        settings: The installation's.
    """
    picked = usable(model, profiles, settings).profiles
    return builds_for(model, (*picked, *only_built(model, profiles, settings).profiles), settings)


def _missing(name: str) -> Finding:
    return Finding(
        Severity.STALLED,
        Reason.PROFILE_NOT_FOUND,
        f"spec.builds.profiles has {name!r}, but there is no DeviceProfile of that name that can be read.",
    )


def state_of(found: Contestants) -> BuildState:
    """Where the builds of a profile stand that is tried and rolled out elsewhere."""
    if found.awaited:
        return found.waiting()
    return found.built[0] if found.built else found.failed()


def states_of(contestants: dict[str, Contestants], names: Collection[str]) -> dict[str, BuildState]:
    """The same for several profiles, by their name."""
    return {name: state_of(found) for name, found in contestants.items() if name in names}
