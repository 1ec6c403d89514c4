"""What the operator makes in the cluster of a model and a profile: a DaemonSet and a build Job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from snapshots import NOW, SETTINGS, model, profile

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import ApplyRevision, Change, StartBuild
from edgesmith.decide.serving import revision_of
from edgesmith.decide.settings import Settings
from edgesmith.resources import build_job, daemon_set

IMAGE = f"registry:5000/models/plant/models@sha256:{'3' * 64}"
SECRET = replace(SETTINGS, pull_secret="pull", push_secret="push")  # noqa: S106 -- names of Secrets


def applied(board: DeviceProfile | None = None, **spec: Any) -> dict[str, Any]:
    of, board = model(**spec), board or profile()
    build = build_for(of, board, SETTINGS)
    revision = revision_of(board, IMAGE, of, SETTINGS)
    return daemon_set(of, ApplyRevision(board, revision, IMAGE, build), SETTINGS)


def started(settings: Settings = SETTINGS, *reason: Change, **source: Any) -> dict[str, Any]:
    of = model(source={"uri": "s3://models/parts/a/model.onnx", "sha256": "a" * 64, **source})
    return build_job(
        of, StartBuild(profile(), build_for(of, profile(), settings), "again", reason, NOW, 7, 2), settings
    )


CORAL: dict[str, Any] = {"toolchain": {"name": "EdgeTPU", "compilerImage": IMAGE}, "runtime": {"baseImage": IMAGE}}


def compiling(settings: Settings = SECRET, **spec: Any) -> dict[str, Any]:
    """The pod of a build for the Edge TPU."""
    of, board = model(**spec), profile("coral", **CORAL)
    job = build_job(of, StartBuild(board, build_for(of, board, settings), "", (), NOW, 1), settings)
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod
