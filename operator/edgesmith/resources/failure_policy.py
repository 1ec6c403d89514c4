"""When a Job of the builder's image makes another pod."""

from __future__ import annotations

from typing import Any

_EXIT_FINAL = 1
"""The builder's exit status where no retry can help."""
_EXIT_RETRY = 2
"""Its exit status where one can."""


def failure_policy(container: str) -> dict[str, Any]:
    """A Job's `podFailurePolicy` for a container that says by its exit status whether a retry can help."""
    return {
        "rules": [
            # A node that is drained says nothing about the work: the pod starts anew elsewhere.
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            _on_exit("FailJob", container, _EXIT_FINAL),
            _on_exit("Count", container, _EXIT_RETRY),
        ]
    }


def _on_exit(action: str, container: str, code: int) -> dict[str, Any]:
    return {"action": action, "onExitCodes": {"containerName": container, "operator": "In", "values": [code]}}
