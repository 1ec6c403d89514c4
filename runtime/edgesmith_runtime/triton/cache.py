"""Engines that TensorRT compiled on this device, kept for the next start.

``ROOT/MODEL/DIGEST-PRECISION/KEY/`` holds those of one model for one TensorRT on one kind of GPU, and the fingerprint
of the device as it was then. Compiling takes minutes on a small device; an engine of another device is not to be
loaded. ONNX Runtime writes an engine neither at one stroke nor to the disk, so that a power cut or a full disk leaves
half of one, which never loads: whoever finds that it does not removes it (`drop_engines`).

What is served is kept as long as few others were since, so that a trial of many candidates, each with its engines,
leaves those of the model that serves and of the one before it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.triton.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle

__all__ = ["KEPT", "EngineCache", "drop_engines", "open_cache"]

_log: Final = logging.getLogger(__name__)
_FINGERPRINT: Final = "fingerprint.json"
_BEFORE: Final = "before.json"
"""The device of the engines before, until there are new ones: a self-test that dies on the way says it again."""
_DIGITS: Final = 16
_SERVED: Final = "served"
"""The file in a model's folder that is as old as its last start as a server."""
KEPT: Final = 3
"""Models kept of each name that served last, the one that serves among them, and as many that were only tested."""
_KEYS: Final = 2
"""Devices kept of each model: this one, and it as it was before, for a roll-back of its image."""


@dataclass(frozen=True, slots=True)
class EngineCache:
    """A folder for engines.

    Attributes:
        folder: The folder.
        message: How it was found, in a few words.
        changes: What of the device is another than when engines were compiled, so that they are compiled anew; empty
            where they are not.
        there: Whether there are engines.
    """

    folder: Path
    message: str
    changes: str = ""
    there: bool = False


def open_cache(
    bundle: Bundle, fingerprint: Fingerprint, *, root: Path, scratch: Path, serving: bool = False
) -> EngineCache:
    """Find the folder for a model's engines on this device, without any that are another device's.

    Args:
        bundle: The model.
        fingerprint: The device.
        root: The node's folder for engines, a volume of the pod.
        scratch: Where engines go when the pod has no such volume: they last as long as it does.
        serving: Whether the model is going to serve: then those of old ones go.

    Raises:
        OSError: The folder is there and cannot be written.
    """
    kept = root.is_dir()
    models = (root if kept else scratch) / bundle.model
    digest = bundle.model_digest.partition(":")[2][:_DIGITS]
    model = models / f"{digest}-{bundle.precision}"
    folder = model / fingerprint.key
    before = _compiled_on(folder) or _latest(model)
    changes = ", ".join(fingerprint.changes(before)) if before is not None else ""
    there = _engines(folder) and not changes
    if _read(folder / _FINGERPRINT) != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _FINGERPRINT, fingerprint)
    if before is not None and not there:
        _write(folder / _BEFORE, before)
    os.utime(model)
    _forget([path for path in model.iterdir() if path.is_dir()], _KEYS)
    if serving:
        (model / _SERVED).touch()
        found = list(models.iterdir())
        served = [path for path in found if (path / _SERVED).exists()]
        _forget(served, KEPT, lambda path: path / _SERVED)
        _forget([path for path in found if path not in served], KEPT)
    if changes:
        message = f"engines are compiled anew: {changes}"
        _log.warning(message)
    elif there:
        message = "engines were there already"
    else:
        message = "engines are compiled for the first time"
    if not kept:
        message += f", and last as long as the pod, since there is no volume at {root}"
    return EngineCache(folder, message, changes, there)


def drop_engines(cache: EngineCache) -> None:
    """Remove engines that do not load, so that they are compiled anew."""
    for path in cache.folder.iterdir():
        if path.name not in {_FINGERPRINT, _BEFORE}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _engines(folder: Path) -> bool:
    return folder.is_dir() and any(file.name not in {_FINGERPRINT, _BEFORE} for file in folder.iterdir())


def _compiled_on(folder: Path) -> Fingerprint | None:
    """The device as it was when a folder's engines were compiled; where there are none yet, those in whose place."""
    return _read(folder / (_FINGERPRINT if _engines(folder) else _BEFORE))


def _latest(model: Path) -> Fingerprint | None:
    """The device as it was when engines of a model were compiled last."""
    files = sorted(model.glob(f"*/{_FINGERPRINT}"), key=lambda file: file.stat().st_mtime, reverse=True)
    return next((found for file in files if (found := _compiled_on(file.parent)) is not None), None)


def _write(file: Path, fingerprint: Fingerprint) -> None:
    file.write_text(json.dumps(asdict(fingerprint)))


def _read(file: Path) -> Fingerprint | None:
    try:
        return Fingerprint(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # half written, or by another release: as good as another device's
        return Fingerprint()


def _forget(folders: Iterable[Path], kept: int, mark: Callable[[Path], Path] = lambda path: path) -> None:
    """Remove all but the newest of some folders, by what marks their age; a server that runs has loaded its own."""
    newest = sorted(folders, key=lambda path: mark(path).stat().st_mtime, reverse=True)
    for path in newest[kept:]:
        shutil.rmtree(path, ignore_errors=True)
