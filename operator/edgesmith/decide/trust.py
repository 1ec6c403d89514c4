"""Which images are known to be builds of ours.

A build key can be computed by anybody who can read an EdgeModel, so an image under the key's tag is not ours because
of its tag. What a Job of ours reported, and what a DaemonSet or the status has had since, is.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgesmith.api.conditions import Reason
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.entries import listed
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import BuildJob, Revision, UnsignedImage
from edgesmith_builder.contract import Build


def trusted_digests(
    model: EdgeModel, jobs: Iterable[BuildJob], revisions: Iterable[Revision]
) -> dict[str, frozenset[str]]:
    """Digests (`sha256:HEX`) of the images under build tags that are known to be ours, by build key.

    The tag names the first finalist, and its report the others: what gates or a trial chose says nothing of the tag by
    itself.

    A key is absent where nothing is known; then only the image itself can be looked at.

    Args:
        model: Its status names the image of each variant's present build.
        jobs: Its build Jobs: one that succeeded says what it pushed or found.
        revisions: Its DaemonSets: each names its image by digest, and the build that this answers.
    """
    found: dict[str, set[str]] = {}
    for job in jobs:
        if job.succeeded and job.digest:
            found.setdefault(job.key, set()).add(job.digest)
    for revision in revisions:
        key = key_of(revision)
        if key:
            _add(found, key, revision.built or revision.image)
    for variant in listed(model.status, "variants"):
        _add(found, variant.get("buildKey"), variant.get("builtImage") or variant.get("image"))
        for build in listed(variant, "builds"):
            _add(found, build.get("buildKey"), build.get("image"))
    return {key: frozenset(digests) for key, digests in found.items()}


def unsigned_problem(image: UnsignedImage, profile: str, settings: Settings) -> tuple[Reason, str]:
    """Why an image is not rolled out that lacks the signature that the installation asks for, and what to do.

    Args:
        image: What was found.
        profile: The variant's.
        settings: The installation's: whether build Jobs can sign.
    """
    if image.finding == "Missing":
        reason, found = Reason.SIGNATURE_MISSING, "no signature"
    else:
        reason, found = Reason.SIGNATURE_INVALID, "no signature by the key of signing.publicKey"
    if not settings.builds:
        cure = "The installation that builds must sign it with the private half of signing.publicKey"
    elif settings.signing_secret:
        cure = f"The Secret {settings.signing_secret!r} must hold the private half of signing.publicKey"
    else:
        cure = "Sign it, or name a Secret with the key as signing.keySecret, and the build is made again"
    said = f"{image.reference} has the tag of the build for {profile} and {found}; it is not rolled out"
    return reason, f"{said} (signing.policy is Require). {cure}"


def key_of(revision: Revision) -> str | None:
    """The build key that a DaemonSet's image answers; None where another version of the operator wrote it."""
    try:
        return Build.model_validate(revision.build).key
    except ValueError:
        return None


def _add(found: dict[str, set[str]], key: object, image: object) -> None:
    digest = image.partition("@")[2] if isinstance(image, str) else ""
    if isinstance(key, str) and digest:
        found.setdefault(key, set()).add(digest)
