"""What the user must correct and what is awaited: one sentence for each."""

from __future__ import annotations

import pytest
from snapshots import (
    NOW,
    failed_job,
    job,
    key_of,
    model,
    node,
    profile,
    said,
    sentence,
    snapshot,
)

from edgesmith.decide import decide
from edgesmith.decide.snapshot import RegistryProblem, Snapshot

WITH_SECRET = model(
    source={"uri": "s3://models/parts/a/model.onnx", "sha256": "a" * 64, "secretRef": {"name": "store"}}
)


BROKEN: dict[str, tuple[Snapshot, str, tuple[str, ...]]] = {
    "a profile that does not exist": (
        snapshot(model(deviceProfiles={"names": ["amd64", "nobody"]})),
        "ProfileNotFound",
        ("spec.deviceProfiles.names", "'nobody'"),
    ),
    "a selector that picks no profile": (
        snapshot(model(deviceProfiles={"selector": {"matchLabels": {"a": "b"}}})),
        "ProfileNotFound",
        ("spec.deviceProfiles.selector",),
    ),
    "a node of two profiles": (
        snapshot(
            model(deviceProfiles={"names": ["amd64", "twin"]}),
            profiles=(profile(), profile("twin", nodeSelector={"device": "amd64"})),
            nodes=(node("e1"),),
        ),
        "NodeMatchesTwoProfiles",
        ("e1", "amd64 and twin", "spec.nodeSelector"),
    ),
    "a registry that refuses": (
        snapshot(images={key_of(model()): RegistryProblem("registry:5000 refused the credentials.", forbidden=True)}),
        "RegistryForbidden",
        ("registry:5000",),
    ),
    "a Secret that is missing": (
        snapshot(
            WITH_SECRET,
            images={key_of(WITH_SECRET): None},
            jobs=(job(WITH_SECRET, failure_message='secret "store" not found'),),
        ),
        "CredentialsNotFound",
        ("spec.source.secretRef.name", "'store'"),
    ),
    **{
        f"a build that failed with {reason}": (
            snapshot(images={key_of(model()): None}, jobs=(failed_job(model(), reason),)),
            reason if reason != "Internal" else "BuildFailed",
            (f"{reason} it is.",),
        )
        for reason in (
            "SourceNotFound", "SourceForbidden", "DigestMismatch", "ModelInvalid", "ModelHasNaN", "ModelTooLarge",
            "DatasetInvalid", "DatasetMismatch", "GatesFailed", "RegistryForbidden", "RegistryRefused",
            "RequestInvalid", "Internal",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_the_user_must_correct_stalls_with_one_sentence(case: str) -> None:
    seen, reason, words = BROKEN[case]
    plan = decide(seen, NOW)
    assert said(plan)["Stalled"] == ("True", reason)
    assert said(plan)["Ready"] == ("False", reason)
    for word in words:
        assert word in sentence(plan)
    assert all(move.node not in {"e1", "hub"} for move in plan.moves)


AWAITED: dict[str, tuple[Snapshot, str]] = {
    "a bucket that is down": (
        snapshot(images={key_of(model()): None}, jobs=(failed_job(model(), "SourceUnreachable", retry=True),)),
        "WaitingForSource",
    ),
    "a registry that is down": (
        snapshot(images={key_of(model()): RegistryProblem("It does not answer.", forbidden=False)}),
        "WaitingForRegistry",
    ),
    "a registry that was down for a build": (
        snapshot(images={key_of(model()): None}, jobs=(failed_job(model(), "RegistryUnreachable", retry=True),)),
        "WaitingForRegistry",
    ),
    "a build that runs": (snapshot(images={key_of(model()): None}, jobs=(job(model()),)), "Building"),
}


@pytest.mark.parametrize("case", AWAITED)
def test_what_is_awaited_is_reconciling_and_looked_at_again(case: str) -> None:
    seen, reason = AWAITED[case]
    plan = decide(seen, NOW)
    assert said(plan)["Reconciling"] == ("True", reason)
    assert "Stalled" not in said(plan)
    assert plan.builds == ()
    assert reason == "Building" or plan.look_again
