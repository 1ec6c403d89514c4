"""A class of hardware of a test's own: a DeviceProfile for nodes with a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def device_class(
    name: str, selector: Mapping[str, str], *, toolchain: Mapping[str, Any], memory: int = 512, **runtime: Any
) -> dict[str, Any]:
    """A DeviceProfile.

    Args:
        name: Its name.
        selector: Labels of its nodes.
        toolchain: Its toolchain.
        memory: What a server may have at most, in MiB.
        runtime: More of `spec.runtime`.
    """
    resources = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": f"{memory}Mi"}}
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": dict(selector),
            "platform": {"os": "linux", "architecture": "amd64"},
            "toolchain": dict(toolchain),
            "runtime": {**runtime, "resources": resources},
        },
    }
