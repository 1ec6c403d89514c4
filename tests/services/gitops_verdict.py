"""What Argo CD and Flux make of an object: their own code, compiled by `make tools` as `gitops-verdict`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from services import tool

Object = dict[str, Any]


def ask(settings: Mapping[str, str], questions: Sequence[Mapping[str, Any]]) -> list[Object]:
    """The answers to questions about objects, in their order.

    Args:
        settings: The data of the ConfigMap `argocd-cm`.
        questions: Each with `verdict` (health, actions, action, diff or kstatus) and `object`; `action` has `action`
            and `parameters` too, `diff` has `desired` and `ignoreDifferences`.

    Returns:
        Objects with `status` and `message`, `actions`, `objects` or `modified`; `error` has an engine's own words.
    """
    line = [str(tool("gitops-verdict"))]
    asked = json.dumps({"settings": dict(settings), "questions": list(questions)})
    done = subprocess.run(line, input=asked, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[Object] = json.loads(done.stdout)
    return found
