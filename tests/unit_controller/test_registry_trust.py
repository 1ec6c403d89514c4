"""The operator's way to a registry of a private authority, over real TLS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from authority import Authority
from played import Answer, Played

from edgesmith.cluster.images import Images, registry_of
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import RegistryProblem
from edgesmith_builder.contract import Artifact, Build, Platform, Toolchain

IMAGE = f"registry.example/edgesmith/runtime@sha256:{'0' * 64}"
BUILD = Build(
    source=Artifact(uri="s3://models/x"),
    platform=Platform(architecture="arm64"),
    toolchain=Toolchain(precisions=("fp32",)),
    base=IMAGE,
)


async def test_builds_are_looked_up_at_a_registry_of_a_private_authority(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with Played(lambda _: Answer(404), authority.sign("registry")) as server:
        repository = f"127.0.0.1:{server.port}/models"
        known = Settings({"onnxruntime": IMAGE}, IMAGE, repository, registry_ca=authority.pem)
        answers = []
        for settings in (known, replace(known, registry_ca=None)):
            async with registry_of(settings, None, attempts=2) as registry:
                found = await Images(registry, lambda: 0.0).look_up(f"{repository}/m", [Wanted(BUILD)])
            answers.append(found[BUILD.key])
    there, problem = answers
    assert there is None
    assert isinstance(problem, RegistryProblem)
    assert "registry.caBundle" in problem.message
    assert server.asked == [f"GET /v2/models/m/manifests/{BUILD.key}"]
