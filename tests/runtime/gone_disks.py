"""What happens to a disk under a process that writes there, and how each of it ends."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from needs import lacking

from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    import pytest

__all__ = ["FAULTS", "Deleted", "Failing", "Fault", "Full", "ReadOnly", "Replaced", "Unmounted"]


class Fault(Protocol):
    """A fault of the disk that a folder is on."""

    lasts: bool
    """Whether nothing can be written until it ends; otherwise what was there is gone, and there is another folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        """Make the folder."""

    def begin(self) -> None:
        """From now on."""

    def end(self) -> None:
        """As before."""

    def close(self) -> None:
        """Leave nothing behind."""


class Deleted:
    """Somebody removes the folder."""

    lasts = False

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        del patch
        self._folder = folder
        folder.mkdir()

    def begin(self) -> None:
        shutil.rmtree(self._folder)

    def end(self) -> None: ...

    def close(self) -> None: ...


class Replaced(Deleted):
    """Another folder, which is empty, is in its place."""

    def begin(self) -> None:
        self._folder.rename(self._folder.with_name("away"))
        self._folder.mkdir()


class _Mounted:
    """A small file system in memory."""

    lasts = True
    _SIZE = 1 << 20

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        del patch
        if os.geteuid() != 0:
            lacking("mounting a small disk needs root")
        self._folder = folder
        folder.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={self._SIZE}", "none")

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, self._folder], check=True)

    def close(self) -> None:
        if os.path.ismount(self._folder):
            subprocess.run(["umount", "-l", self._folder], check=True)


class Unmounted(_Mounted):
    """It is no longer there; what is beneath may be written."""

    lasts = False

    def begin(self) -> None:
        self.close()

    def end(self) -> None: ...


class ReadOnly(_Mounted):
    """The kernel has found an error and writes no more."""

    def begin(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._mount("-o", "remount,ro")
            except subprocess.CalledProcessError:  # it is refused while a file is open for writing
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
            else:
                return

    def end(self) -> None:
        self._mount("-o", "remount,rw")


class Full(_Mounted):
    """Others have all of it."""

    def begin(self) -> None:
        with (self._folder / "others").open("wb") as stream, suppress(OSError):
            while True:
                os.write(stream.fileno(), bytes(4096))
        assert os.statvfs(self._folder).f_bavail == 0

    def end(self) -> None:
        (self._folder / "others").unlink()


class Failing:
    """Whatever is asked of its files is answered with an error."""

    lasts = True

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._folder = folder
        self._bad = False
        folder.mkdir()
        for name in ("open", "scandir", "unlink", "rename", "replace", "mkdir", "stat"):
            self._spoil(os, name)
        self._spoil(io, "open")

    def _spoil(self, module: ModuleType, name: str) -> None:
        usual: Callable[..., object] = getattr(module, name)

        def spoilt(path: object, *args: object, **options: object) -> object:
            if self._bad and str(path).startswith(str(self._folder)):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return usual(path, *args, **options)

        self._patch.setattr(module, name, spoilt)

    def begin(self) -> None:
        self._bad = True

    def end(self) -> None:
        self._bad = False

    def close(self) -> None: ...


FAULTS: tuple[type[Fault], ...] = (Deleted, Replaced, Unmounted, ReadOnly, Full, Failing)


def held(kind: type[Fault], folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Fault]:
    """A fault that leaves nothing behind."""
    fault = kind(folder, patch)
    yield fault
    fault.close()
