"""The command line of ``tritonserver``: one model, which stays the one, and nothing that changes the server.

``tritonserver --help`` describes its options; those here are in every release from 2.51 on.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle

__all__ = ["PROGRAM", "Listening", "command", "environment"]

PROGRAM: Final = "tritonserver"
"""Found on PATH, as NVIDIA's images have it."""

_CLOSED: Final = "model-repository,shared-memory,trace,logging"
"""Interfaces by which a client could replace the model, run its own, read this pod's memory or write files in it."""
_TF32: Final = "NVIDIA_TF32_OVERRIDE"
_OURS: Final = frozenset({"PYTHONPATH", "PYTHONSAFEPATH"})
"""Where our modules are; Triton's backends in Python have their own."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens.

    Attributes:
        address: The address.
        http: The HTTP port.
        grpc: The gRPC port; None for none.
        metrics: The port of the metrics; None for none.
    """

    address: str
    http: int
    grpc: int | None = None
    metrics: int | None = None


def command(repository: Path, listening: Listening, *, drain_seconds: float, gpu: bool) -> list[str]:
    """Write the command line.

    Args:
        repository: The model repository, which holds one model.
        listening: Where to listen.
        drain_seconds: How long requests in flight may take after SIGTERM.
        gpu: Whether the model runs on a GPU.
    """
    key = f"edgesmith={secrets.token_hex(16)}"  # known to nobody, so that closed interfaces stay closed
    words = [
        PROGRAM,
        f"--model-repository={repository}",
        # The repository's model is loaded at the start and stays; in the other modes clients can load and unload.
        "--model-control-mode=none",
        # What the configuration does not say is not to be guessed: a batcher, for example.
        "--disable-auto-complete-config",
        f"--http-restricted-api={_CLOSED}:{key}",
        f"--grpc-restricted-protocol={_CLOSED}:{key}",
        f"--http-address={listening.address}",
        f"--http-port={listening.http}",
        f"--exit-timeout-secs={max(1, round(drain_seconds))}",
        "--log-info=false",
        "--log-format=ISO8601",
    ]
    if not gpu:
        words.append("--pinned-memory-pool-byte-size=0")  # 256 MiB otherwise, to copy to a GPU from
    for name, port in (("grpc", listening.grpc), ("metrics", listening.metrics)):
        words.append(f"--allow-{name}={str(port is not None).lower()}")
        if port is not None:
            words += [f"--{name}-address={listening.address}", f"--{name}-port={port}"]
    return words


def environment(bundle: Bundle) -> dict[str, str]:
    """What the server's process finds in its environment.

    Args:
        bundle: The model. What of it is in fp32 is computed in fp32: GPUs from Ampere on shorten the mantissas to 10
            bits unless told not to (https://docs.nvidia.com/deeplearning/tensorrt, "TF32"). In fp16 it changes nothing.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
    return inherited | ({_TF32: "0"} if bundle.precision != "fp16" else {})
