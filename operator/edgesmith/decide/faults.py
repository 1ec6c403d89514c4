"""What is wrong with a DeviceProfile by itself, whatever EdgeModel uses it; beyond what its schema can say."""

from __future__ import annotations

from collections.abc import Iterator

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.units import parse_bytes
from edgesmith.decide.toolchain import why_impossible
from edgesmith_builder.contract import TOOLCHAINS, wrong_engine_version, wrong_options, wrong_precisions


def toolchain_faults(profile: DeviceProfile) -> Iterator[str]:
    """What a profile asks of its toolchain and cannot have, held against the toolchain's own table.

    Yields:
        `FIELD is VALUE; EXPECTED` without an end.
    """
    wanted = profile.spec.toolchain
    for wrong in (
        wrong_options(wanted.name, wanted.options),
        wrong_precisions(wanted.name, wanted.precisions or ()),
    ):
        if wrong is not None:
            yield f"spec.toolchain.{wrong}"
    version = profile.spec.runtime.engine_version
    if version is not None and (wrong := wrong_engine_version(wanted.name, version)) is not None:
        yield f"spec.runtime.engineVersion is {wrong}"
    for one in wanted.precisions or ():
        because = why_impossible(one, wanted.impossible)
        if because is not None:
            yield (
                f"spec.toolchain.precisions has {one}, which spec.toolchain.impossible says cannot be run "
                f"({because.rstrip('.')}); one of the two was expected"
            )
            break
    soc = profile.spec.hardware.soc
    if soc is not None and "soc" in (known := TOOLCHAINS[wanted.name].options):
        asked = wanted.options.get("soc", known["soc"].default)
        if asked != soc:
            yield f"spec.toolchain.options.soc is {asked} and spec.hardware.soc is {soc}; the same was expected of both"
    own = TOOLCHAINS[wanted.name].precisions
    if not wanted.precisions and all(why_impossible(one, wanted.impossible) for one in own):
        yield (
            f"spec.toolchain.impossible has {', '.join(own)}, all that {wanted.name} tries by itself; "
            "spec.toolchain.precisions was expected"
        )


def memory_faults(profile: DeviceProfile) -> Iterator[tuple[str, str]]:
    """What a profile gives its servers of a memory that it does not have.

    Yields:
        `limits` or `requests`, and `FIELD is VALUE; EXPECTED` without an end.
    """
    for section in ("limits", "requests"):
        value = (profile.spec.runtime.resources or {}).get(section, {}).get("memory")
        if value is not None and is_more_than(profile, value):
            yield section, f"spec.runtime.resources.{section}.memory is {value}; {at_most(profile)}"


def is_more_than(profile: DeviceProfile, value: str | int) -> bool:
    """Whether a quantity is more than the memory that a profile says; False where it says none."""
    if profile.memory is None:
        return False
    try:
        return parse_bytes(value) > profile.memory
    except ValueError:  # more than anything has
        return True


def at_most(profile: DeviceProfile) -> str:
    """What is expected of a quantity of memory."""
    return f"at most {profile.spec.hardware.memory} was expected, its spec.hardware.memory"
