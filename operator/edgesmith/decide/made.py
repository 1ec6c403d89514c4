"""Images that build Jobs of ours made, as the status keeps them: their layers do for a build over another base.

A Job says whether it made the image that it names, or found it under its key, where anybody may have pushed it. Only
what was made is kept, with the bundle key of the build that the operator itself asked for. It outlives the change of
the base, until the next image is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgesmith.api.made_build import MadeBuild
from edgesmith.decide.build_jobs import age
from edgesmith.decide.entries import entries_of, listed
from edgesmith.decide.snapshot import Snapshot
from edgesmith_builder.contract import Build, Earlier, ServerName


def made_by_job(snapshot: Snapshot, build: Build) -> str | None:
    """Digest of the image that the newest Job made for a build, whichever EdgeModel it is of; None where none did."""
    jobs = (*snapshot.jobs, *snapshot.other_jobs)
    made = [job for job in jobs if job.key == build.key and job.succeeded and job.made and job.digest]
    return max(made, key=age).digest if made else None


def made_before(status: Mapping[str, Any], profile: str) -> Iterator[MadeBuild]:
    """What a status keeps of a variant's images that Jobs made.

    Args:
        status: The EdgeModel's as it stands.
        profile: The variant's.
    """
    for one in listed(status, "variants"):
        if one.get("profile") == profile:
            yield from entries_of(one, "made", MadeBuild)


def earlier_of(snapshot: Snapshot, build: Build, server: ServerName) -> Earlier | None:
    """An image whose layers do for a build, of another one: who deletes a build's own wants it made anew.

    None where none is known. Where builds are signed, the builder takes its own key's word and needs none.

    Args:
        snapshot: The status of its EdgeModel has what Jobs made.
        build: What is to be made.
        server: What serves it.
    """
    if snapshot.settings.signing_secret:
        return None
    bundle = build.bundle_key(server)
    kept = (made for one in listed(snapshot.model.status, "variants") for made in entries_of(one, "made", MadeBuild))
    others = (one for one in kept if one.bundle_key == bundle and one.build_key != build.key)
    return next((Earlier(digest=one.digest, bundle=bundle) for one in others), None)
