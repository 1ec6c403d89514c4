"""EdgeModels with files without a digest, and looks at them in any state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from new_jobs import new_look
from snapshots import (
    NOW,
    SETTINGS,
    model,
    profile,
    said,
)

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.decide.built_for_sites import wanted
from edgesmith.decide.digests import attempt_of
from edgesmith.decide.plan import Plan
from edgesmith.decide.snapshot import ResolveJob, Snapshot
from edgesmith.decide.sources import key_of
from edgesmith_builder.contract import BuildFailure, FailureReason, ResolvedFile, ResolveResult

URI = "s3://models/parts/model.onnx"


HOUR = timedelta(hours=1)


A, B = "a" * 64, "b" * 64


def loose(
    status: Mapping[str, Any] | None = None, *, source: Mapping[str, Any] | None = None, **more: Any
) -> EdgeModel:
    """An EdgeModel whose source has no digest."""
    found = model(source={"uri": URI, **(source or {})}, **more)
    return found.model_copy(update={"status": dict(status or {})})


def entry(sha256: str = A, *, ago: float = 60, field: str = "source", of: EdgeModel | None = None, **more: Any) -> Any:
    """What the status says of a file that was looked at some seconds ago."""
    at = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    base = {"field": field, "uri": URI, "sha256": sha256, "validator": f"of {sha256[0]}", "resolvedAt": at}
    return {**base, "attempt": attempt_of(of or loose()), **more}


def known(*entries: Any, **more: Any) -> EdgeModel:
    return loose({"sources": list(entries or [entry()])}, **more)


def seen(of: EdgeModel, *jobs: ResolveJob, **more: Any) -> Snapshot:
    """A snapshot in which the registry has every build that is wanted."""
    images = {build.key: None for build in wanted(of, (profile(),), SETTINGS).values()}
    base = Snapshot(of, SETTINGS, (profile(),), (), (), (), (), images)
    return replace(base, resolve_jobs=jobs, **more)


def look(of: EdgeModel, name: str = "look", **more: Any) -> ResolveJob:
    """A resolve Job for an EdgeModel that runs."""
    files = {field: file for field, file in of.spec.files.items() if file.sha256 is None}
    return replace(new_look(name, key_of(files), attempt_of(of), NOW - timedelta(seconds=30)), **more)


def found(of: EdgeModel, sha256: str = A, *, ago: float = 1, **more: Any) -> ResolveJob:
    """One that found something."""
    files = tuple(
        ResolvedFile(field=field, sha256=sha256, validator=f"of {sha256[0]}")
        for field, file in of.spec.files.items()
        if file.sha256 is None
    )
    end = NOW - timedelta(seconds=ago)
    return look(of, finished=True, succeeded=True, finished_at=end, found=ResolveResult(files=files), **more)


def in_vain(of: EdgeModel, reason: FailureReason, *, retry: bool = False, ago: float = 1, **more: Any) -> ResolveJob:
    """One that failed in the builder's own words."""
    failure = BuildFailure(reason=reason, message=f"{reason} it is.", retry=retry)
    return look(of, finished=True, failure=failure, finished_at=NOW - timedelta(seconds=ago), **more)


def finding(plan: Plan) -> tuple[str, str]:
    return said(plan)["SourceResolved"]


def after(of: EdgeModel, plan: Plan) -> EdgeModel:
    """The EdgeModel with the status of a plan."""
    return of.model_copy(update={"status": plan.status.model_dump(mode="json", by_alias=True, exclude_none=True)})
