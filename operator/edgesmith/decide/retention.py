"""Which children are no longer wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from edgesmith.api.names import daemon_set_name, staging_name
from edgesmith.decide.build_jobs import age
from edgesmith.decide.held import builds_named
from edgesmith.decide.plan import Delete
from edgesmith.decide.snapshot import BuildJob, Revision, Snapshot


def old_revisions(
    revisions: Iterable[Revision], *, in_use: Collection[str], profiles: Collection[str], limit: int
) -> tuple[Delete, ...]:
    """DaemonSets that no node's label names, beyond the newest `limit` of each variant.

    Args:
        revisions: All DaemonSets of the EdgeModel.
        in_use: Revisions that a label names, that the spec asks for, or that nodes would go back to.
        profiles: The profiles that the spec names; of any other, nothing is kept.
        limit: How many unused revisions are kept per variant.
    """
    found: list[Delete] = []
    kept: dict[str, int] = {}
    for revision in sorted(revisions, key=lambda one: (one.created, one.name), reverse=True):
        if revision.revision in in_use:
            continue
        kept[revision.profile] = kept.get(revision.profile, 0) + 1
        if revision.profile not in profiles:
            found.append(Delete("DaemonSet", revision.name, f"{revision.profile} is no longer one of the profiles."))
        elif kept[revision.profile] > limit:
            found.append(Delete("DaemonSet", revision.name, f"No node runs it and {limit} newer ones are kept."))
    return tuple(sorted(found, key=lambda delete: delete.name))


def old_staging(snapshot: Snapshot, unused: Collection[str], in_use: Collection[str]) -> tuple[Delete, ...]:
    """DaemonSets that stage a revision which goes, or which has none of its own any more.

    Args:
        snapshot: Everything that is known of the EdgeModel.
        unused: Names of the revisions' DaemonSets that are deleted.
        in_use: As `old_revisions` has it.
    """
    kept = {one.revision for one in snapshot.revisions if one.name not in unused} | {*in_use}
    model = snapshot.model.metadata.name
    return tuple(
        Delete("DaemonSet", staging_name(daemon_set_name(model, revision)), "The revision that it stages is gone.")
        for revision in sorted({one.revision for one in snapshot.staging})
        if revision not in kept
    )


def old_jobs(jobs: Iterable[BuildJob], wanted: Collection[str], awaited: Collection[str] = ()) -> tuple[Delete, ...]:
    """Jobs at work on builds that nobody wants any more, and finished ones but the newest of each variant.

    Args:
        jobs: All build Jobs of the EdgeModel.
        wanted: The build keys that the spec asks for.
        awaited: Those that other EdgeModels of the namespace ask for.
    """
    newest_first = sorted(jobs, key=age, reverse=True)
    return tuple(sorted(_old_jobs(newest_first, wanted, awaited), key=lambda delete: delete.name))


def awaited_by_others(snapshot: Snapshot) -> frozenset[str]:
    """The keys of builds that other EdgeModels of the namespace ask for, where a Job of this one is at work.

    They start none while it is.
    """
    if all(job.finished for job in snapshot.jobs):
        return frozenset()
    namespace = snapshot.model.metadata.namespace
    near = (one for one in snapshot.others if one.metadata.namespace == namespace)
    return frozenset(key for one in near for key in builds_named(one.status) if isinstance(key, str))


def _old_jobs(newest_first: Iterable[BuildJob], wanted: Collection[str], awaited: Collection[str]) -> Iterator[Delete]:
    finished: set[str] = set()
    running: set[str] = set()
    for job in newest_first:
        if not job.finished:
            if job.key not in wanted and job.key not in awaited:
                yield Delete(
                    "Job", job.name, "The spec, or a file that it names, changed: nobody wants this build any more."
                )
            elif job.key in running:
                yield Delete("Job", job.name, "A newer Job is at work on the same build.")
            running.add(job.key)
        elif (job.key if job.key in wanted else job.profile) in finished:
            yield Delete("Job", job.name, "A newer Job has finished.")
        else:
            finished |= {job.key, job.profile}
