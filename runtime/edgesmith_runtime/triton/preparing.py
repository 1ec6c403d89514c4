"""What a start on this device adds to a bundle: cores, batches, and for TensorRT its folder of compiled engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.triton.accelerator import accelerated
from edgesmith_runtime.triton.cache import EngineCache, open_cache
from edgesmith_runtime.triton.fingerprint import read_fingerprint
from edgesmith_runtime.triton.repository import Fitting

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle

__all__ = ["ENGINES", "USUAL", "Prepared", "prepare", "scratch"]

ENGINES: Final = Path("/var/cache/edgesmith")
"""Where a profile mounts the node's folder for compiled engines."""


USUAL: Final = Fitting(threads=0, max_batch=Limits().batch, cache=ENGINES)
"""What no device has been asked about: ONNX Runtime counts the cores itself."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A device that is ready for a bundle.

    Attributes:
        fitting: What it adds to the model's configuration.
        device: What a termination message says of it.
        message: What is to be told of it, if anything.
        recompiled: What of it is another than when the model was compiled for it, which is why it is compiled anew.
        cache: The folder of compiled engines; None where the model needs none.
    """

    fitting: Fitting
    device: dict[str, str] = field(default_factory=dict)
    message: str = ""
    recompiled: str = ""
    cache: EngineCache | None = None


def scratch() -> Path:
    """The pod's own folder, which its self-test and its server share."""
    return Path(gettempdir()) / "edgesmith"


def prepare(
    bundle: Bundle, *, threads: int, max_batch: int, engines: Path = ENGINES, serving: bool = False
) -> Prepared:
    """Make a device ready.

    Args:
        bundle: The model.
        threads: How many cores to compute with.
        max_batch: The largest batch that a request may have.
        engines: The node's folder for compiled engines.
        serving: As `open_cache` has it.

    Raises:
        EngineError: The folder for engines cannot be written, or Triton cannot serve such a bundle.
    """
    own = scratch() / "engines"
    if not accelerated(bundle):
        return Prepared(Fitting(threads, max_batch, own))
    fingerprint = read_fingerprint()
    try:
        cache = open_cache(bundle, fingerprint, root=engines, scratch=own, serving=serving)
    except OSError as error:
        raise EngineError(
            f"{error.filename or engines} cannot be written: {error.strerror}; expected a folder that user 65532 owns"
        ) from error
    fitting = Fitting(threads, max_batch, cache.folder)
    return Prepared(fitting, fingerprint.facts(), cache.message, cache.changes, cache)
