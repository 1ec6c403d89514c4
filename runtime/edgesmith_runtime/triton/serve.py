"""Serving with Triton: check the bundle, write its repository, and become ``tritonserver``.

There is no process of ours beside it: it is process 1 of its container, takes SIGTERM itself, and its end is the
container's.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.loading import LoadFailed, read
from edgesmith_runtime.termination import Finding, write_termination
from edgesmith_runtime.triton.accelerator import accelerated
from edgesmith_runtime.triton.command import PROGRAM, Listening, command, environment
from edgesmith_runtime.triton.preparing import prepare, scratch
from edgesmith_runtime.triton.repository import write_repository

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Settings", "serve"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve.

    Attributes:
        bundle: The bundle's folder.
        name: What clients call the model.
        listening: Where to listen.
        threads: How many cores to compute with.
        max_batch: The largest batch that a request may have.
        drain_seconds: How long requests in flight may take after SIGTERM.
        termination_log: Where a failed start leaves its reason, where that file exists.
    """

    bundle: Path
    name: str
    listening: Listening
    threads: int
    max_batch: int
    drain_seconds: float
    termination_log: Path


def serve(settings: Settings) -> int:
    """Become the server; returns only where that fails.

    Args:
        settings: How to serve.

    Returns:
        1.
    """
    try:
        bundle, golden = read(settings.bundle, settings.name)
        try:
            prepared = prepare(bundle, threads=settings.threads, max_batch=settings.max_batch, serving=True)
            repository = write_repository(bundle, golden, prepared.fitting, scratch() / "models")
            gpu = accelerated(bundle)
            words = command(repository, settings.listening, drain_seconds=settings.drain_seconds, gpu=gpu)
            _log.info("starting %s", PROGRAM, extra={"model": bundle.model, "precision": bundle.precision})
            logging.shutdown()
            os.execvpe(PROGRAM, words, environment(bundle))  # noqa: S606 - the image's own program
        except EngineError as error:
            raise LoadFailed(Finding("EngineFailed", str(error), engine=bundle.engine)) from error
        except OSError as error:
            message = f"{PROGRAM} cannot be started: {error.filename or PROGRAM}: {error.strerror}"
            raise LoadFailed(Finding("EngineFailed", message, engine=bundle.engine)) from error
    except LoadFailed as failure:
        _log.error("cannot serve: %s", failure.finding.message, extra={"reason": failure.finding.reason})
        with contextlib.suppress(OSError):  # the log has it; a read-only root may keep the message from being left
            write_termination(settings.termination_log, failure.finding, create=False)
        return 1
