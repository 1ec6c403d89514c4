"""Images into the registry, the chart into the cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgesmith_stage.ground import Ground
from edgesmith_stage.shell import ROOT, run

NAMESPACE = "edgesmith-system"


def push_images(ground: Ground, *only: str, platform: str | None = None) -> dict[str, str]:
    """Build what changed, push it, and return each program's image by digest.

    Args:
        ground: Where to.
        only: Names of some of them.
        platform: For which they are, `linux/amd64` say, instead of each one's own.
    """
    images = ROOT / "hack/images"
    chosen = [*(f"--only={name}" for name in only), *([f"--platform={platform}"] if platform else [])]
    # The nodes and the operator are told how this registry speaks: what is pushed must not guess it from the address.
    registry = f"{'http' if ground.plain_http else 'https'}://{ground.registry}"
    push: list[str | Path] = [sys.executable, images, "push", *chosen, registry]
    pushed: dict[str, str] = json.loads(run(push, show=True, timeout=3600))
    return pushed


def uninstall_chart(ground: Ground) -> None:
    """`helm uninstall` and what Helm leaves: the namespace. CRDs stay, for they hold every EdgeModel there is."""
    where: list[str | Path] = ["--kubeconfig", ground.kube.kubeconfig, "--namespace", NAMESPACE]
    run([ground.helm, "uninstall", "edgesmith", "--ignore-not-found", "--wait", *where], timeout=240)
    ground.kube("delete", "namespace", NAMESPACE, "--ignore-not-found")


def install_chart(ground: Ground, images: dict[str, str], *settings: str, chart: str | None = None) -> None:
    """`helm upgrade --install` with the images by digest.

    Args:
        ground: Where to.
        images: Each program's image.
        settings: Further `--set` words.
        chart: `oci://HOST/REPOSITORY:TAG` of the ground's registry; this repository's where it is None.
    """
    values = [
        f"image.operator={images['operator']}",
        f"image.builder={images['builder']}",
        *(f"image.{name.replace('-', '.')}={image}" for name, image in images.items() if name.startswith("runtime-")),
        *(f"image.{name.replace('-', 's.')}={image}" for name, image in images.items() if name.startswith("builder-")),
        f"registry.repository={ground.registry}/models",
        f"registry.plainHTTP={str(ground.plain_http).lower()}",
        *settings,
    ]
    if ground.node_grace is not None:
        values.append(f"nodeGracePeriodSeconds={ground.node_grace}")
    files = ["--set-file", f"bucket.caBundle={ground.authority}"] if ground.authority else []
    if ground.hub:
        values += [r"operator.nodeSelector.edgesmith\.dev/hub=true", r"builder.nodeSelector.edgesmith\.dev/hub=true"]
    run(
        [
            ground.helm,
            "upgrade",
            "--install",
            "edgesmith",
            *([chart, "--plain-http"] if chart else [ROOT / "charts/edgesmith"]),
            "--kubeconfig",
            ground.kube.kubeconfig,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout",
            "3m",
            *files,
            *[word for value in values for word in ("--set-string" if "hub=true" in value else "--set", value)],
        ],
        timeout=240,
    )
