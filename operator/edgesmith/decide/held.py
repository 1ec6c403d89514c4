"""What of a build is known without asking the registry: from the status as it was written, and from DaemonSets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgesmith.decide.entries import listed
from edgesmith.decide.snapshot import Revision, Snapshot
from edgesmith.decide.trust import key_of


def variant_before(status: Mapping[str, Any], profile: str, key: str) -> Mapping[str, Any]:
    """What the status says of a variant's build; empty where it says nothing of this build.

    Args:
        status: The EdgeModel's as it stands.
        profile: The variant's.
        key: The build key.
    """
    return next((one for one in _variants(status, profile) if one.get("buildKey") == key), {})


def build_before(status: Mapping[str, Any], profile: str, key: str) -> Mapping[str, Any]:
    """What the status says of one of a variant's builds; empty where it says nothing of it.

    Args:
        status: The EdgeModel's as it stands.
        profile: The variant's.
        key: The build key.
    """
    builds = (build for one in _variants(status, profile) for build in listed(one, "builds"))
    found = next((build for build in builds if build.get("buildKey") == key), None)
    return found or variant_before(status, profile, key)


def builds_named(status: Mapping[str, Any]) -> Iterator[object]:
    """The keys of all builds that the status names as present ones: of variants, and of their alternatives.

    Args:
        status: The EdgeModel's as it stands; what it has for a key need not be one.
    """
    for one in listed(status, "variants"):
        yield one.get("buildKey")
        yield from (build.get("buildKey") for build in listed(one, "builds"))


def refused_before(status: Mapping[str, Any], profile: str, alternative: str | None, key: str) -> list[dict[str, Any]]:
    """Candidates of a build that were out when its report was judged last.

    Args:
        status: The EdgeModel's as it stands.
        profile: The variant's.
        alternative: Whose build it is, where there are alternatives.
        key: The build key.
    """
    if not build_before(status, profile, key):
        return []
    entry = next(_variants(status, profile), {})
    return [dict(one) for one in listed(entry, "refused") if one.get("alternative") == alternative]


def _variants(status: Mapping[str, Any], profile: str) -> Iterator[Mapping[str, Any]]:
    return (one for one in listed(status, "variants") if one.get("profile") == profile)


def held_revision(snapshot: Snapshot, profile: str, *keys: str) -> Revision | None:
    """The revision of a variant's builds that is rolled out on a profile; None before its first rollout.

    A build has a revision for each candidate that was rolled out at some time. It is the one that the status names, and
    the newest where that names none. What another profile's nodes run says nothing of this one's, which have a trial of
    their own.
    """
    ours = [one for one in snapshot.revisions if one.profile == profile and key_of(one) in keys]
    named = {variant_before(snapshot.model.status, profile, key).get("image") for key in keys}
    return max(ours, key=lambda one: (one.image in named, one.created, one.name), default=None)
