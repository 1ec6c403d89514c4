"""The termination message: a container's last word, which the kubelet puts into the pod's status."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from edgesmith_runtime.device import default_threads, processor_name
from edgesmith_runtime.engine import EngineError, engine_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LONGEST", "Finding", "Reason", "write_termination"]

LONGEST: Final = 4096
"""What the kubelet keeps of a message, in bytes."""

_LONGEST_FACT: Final = 200
_LONGEST_CLAUSE: Final = 300

Reason = Literal[
    "Passed",
    "BundleCorrupt",
    "EngineFailed",
    "GoldenMismatch",
    "LatencyExceeded",
    "MemoryExceeded",
    "ListenFailed",
    "ErrorRateExceeded",
    "LatencyRatioExceeded",
    "ConfidenceDropExceeded",
    "InternalError",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a self-test, a failed start or a server found.

    Attributes:
        reason: ``Passed``, or what was wrong.
        message: One sentence.
        p50_ms: Median time of one run in milliseconds, where measured.
        p95_ms: The 95th percentile.
        memory_bytes: The most memory the process had resident, where measured.
        parity: The share of golden samples that agree, where replayed.
        engine: The engine's name, where the bundle could be read.
        warning: What is not as it should be though the model answers, as the end of a sentence about it.
        recompiled: What of the device is another than when the model was compiled for it, which is why it is compiled
            anew, as the end of a sentence about that.
        device: What else tells this device from others, and what it runs.
    """

    reason: Reason
    message: str
    p50_ms: float | None = None
    p95_ms: float | None = None
    memory_bytes: int | None = None
    parity: float | None = None
    engine: str = field(default="onnxruntime")
    warning: str | None = None
    recompiled: str | None = None
    device: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return self.reason == "Passed"

    def document(self) -> dict[str, Any]:
        """Write the finding and the device's fingerprint as the operator reads them."""
        try:
            engine = engine_version(self.engine)
        except EngineError:
            engine = self.engine
        return {
            "verdict": "Passed" if self.passed else "Failed",
            "reason": self.reason,
            "message": self.message[:1000],
            "p50Ms": self.p50_ms,
            "p95Ms": self.p95_ms,
            "memoryBytes": self.memory_bytes,
            "parity": self.parity,
            "warning": self.warning[:_LONGEST_CLAUSE] if self.warning else None,
            "recompiled": self.recompiled[:_LONGEST_CLAUSE] if self.recompiled else None,
            "device": {
                "machine": platform.machine(),
                "processor": processor_name()[:_LONGEST_FACT],
                "cores": default_threads(),
                "engine": engine[:_LONGEST_FACT],
                **{name: text[:_LONGEST_FACT] for name, text in self.device.items()},
            },
        }


def write_termination(path: Path, finding: Finding, *, create: bool) -> bool:
    """Write a finding as a termination message.

    Args:
        path: The file, which the kubelet mounts.
        finding: What to say.
        create: Whether to make the file where it is missing; otherwise nothing is written then.

    Returns:
        Whether it was written.

    Raises:
        OSError: The file cannot be written.
    """
    text = _fitting(finding.document())
    flags = os.O_WRONLY | os.O_TRUNC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileNotFoundError:
        if create:
            raise
        return False
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text)
    return True


def _fitting(document: dict[str, Any]) -> bytes:
    """A document as JSON that the kubelet keeps whole: of what would be too long, the sentences are shortened."""
    for name in ("message", "warning", "recompiled"):
        while len(text := _json(document)) > LONGEST and document[name]:
            # A letter has 12 bytes at most, so that this never cuts more than is too long.
            document[name] = document[name][: -max(1, (len(text) - LONGEST) // 12)]
    return text


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False).encode() + b"\n"
