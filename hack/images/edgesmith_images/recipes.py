"""The project's images: which files decide their bytes, and for which platforms they are built."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .base import QNN, RUN, TRITONSERVER, BaseRecipe
from .console import ImageError
from .paths import REPOSITORY

FORMAT = 2
"""Raised when these scripts come to write other bytes from the same inputs."""

ARCHITECTURES = {"linux/amd64": "amd64", "linux/arm64": "arm64"}
"""The platforms an image can be built for."""


def own_platform() -> str:
    """Names this machine's platform.

    Returns:
        ``linux/amd64`` or ``linux/arm64``.

    Raises:
        ImageError: The machine is neither.
    """
    names = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
    machine = platform.machine()
    if machine not in names:
        raise ImageError(f"This machine is {machine}; images are built on {' or '.join(names)}.")
    return names[machine]


@dataclass(frozen=True)
class Recipe:
    """One image.

    Attributes:
        name: ``runtime-onnxruntime``, ``operator`` or ``builder``, for example.
        dockerfile: Relative to the repository, like every path here.
        files: Everything else that is copied in: files and folders.
        platforms: What it is built for unless asked otherwise.
        base: The Debian base that it is built on.
        stand_in: The Dockerfile of what stands between the two, in the place of an image that cannot be fetched.
        asked: Whether it is built only when it is asked for by name.
        engine: The engine that it holds, for one of the runtime's; the Dockerfile's ``ENGINE``.
        flavour: Of the builder, with a vendor's packages; the Dockerfile's ``FLAVOUR``.
    """

    name: str
    dockerfile: str
    files: tuple[str, ...]
    platforms: tuple[str, ...]
    base: BaseRecipe = RUN
    stand_in: str | None = None
    asked: bool = False
    engine: str = ""
    flavour: str = ""

    @property
    def requirements(self) -> str:
        """The lock file of the Python packages in it."""
        return f"requirements/{self.engine or self.name}.txt"

    def sources(self, repository: Path = REPOSITORY) -> list[str]:
        """Lists the files that decide the image's bytes.

        Args:
            repository: The working tree.

        Returns:
            Sorted paths relative to the repository, without bytecode.

        Raises:
            ImageError: One of them is not there.
        """
        found: list[str] = []
        for name in (self.dockerfile, *filter(None, [self.stand_in]), *self.files):
            path = repository / name
            if not path.exists():
                raise ImageError(f"The image {self.name} is made from {name}, which does not exist.")
            below = sorted(path.rglob("*")) if path.is_dir() else [path]
            found += [
                item.relative_to(repository).as_posix()
                for item in below
                if item.is_file() and "__pycache__" not in item.parts
            ]
        return sorted(found)

    def snapshot(self, folder: Path, repository: Path = REPOSITORY) -> str:
        """Copies the sources, so that what is hashed is what is built.

        Args:
            folder: An empty folder; becomes the build context, with plain modes.
            repository: The working tree.

        Returns:
            The hash of every path and its bytes, 64 hex digits.
        """
        digest = hashlib.sha256()
        for name in self.sources(repository):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, target)
            target.chmod(0o644)
            digest.update(f"{name}\0{hashlib.sha256(target.read_bytes()).hexdigest()}\n".encode())
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        return digest.hexdigest()


ENGINES = ("onnxruntime", "openvino", "litert")
"""The engines that there is a runtime image of; a file of requirements/ each."""

VENDORS = {"qnn": QNN}
"""Flavours with a vendor's packages, which have a licence of their own, and the base that these need: built only when
they are asked for by name."""

COMMON = ("LICENSE", "hack/images/edgesmith_images/site_packages.py")


def recipes() -> dict[str, Recipe]:
    """Lists the images.

    Returns:
        Name to recipe, in the order they are built.
    """
    own = (own_platform(),)
    return {
        recipe.name: recipe
        for recipe in (
            *(_runtime(engine) for engine in ENGINES),
            *(
                replace(_runtime(engine), platforms=("linux/arm64",), asked=True, base=base)
                for engine, base in VENDORS.items()
            ),
            Recipe(
                name="operator",
                dockerfile="operator/Dockerfile",
                files=(*COMMON, "requirements/operator.txt", "builder/edgesmith_builder", "operator/edgesmith"),
                platforms=own,
            ),
            _builder(own),
            *(replace(_builder(("linux/amd64",), f"-{name}"), base=base) for name, base in VENDORS.items()),
            Recipe(
                name="triton",
                dockerfile="runtime/triton.Dockerfile",
                files=(
                    *(*COMMON, "requirements/triton.txt", "requirements/tritonserver.txt"),
                    *("runtime/edgesmith_runtime", "hack/images/tritonserver"),
                ),
                platforms=own,
                base=TRITONSERVER,
                stand_in="hack/images/tritonserver/Dockerfile",
                asked=True,
            ),
        )
    }


def _runtime(engine: str) -> Recipe:
    return Recipe(
        name=f"runtime-{engine}",
        dockerfile="runtime/Dockerfile",
        files=(*COMMON, f"requirements/{engine}.txt", "runtime/edgesmith_runtime"),
        platforms=tuple(ARCHITECTURES),
        engine=engine,
    )


def _builder(platforms: tuple[str, ...], flavour: str = "") -> Recipe:
    name = f"builder{flavour}"
    return Recipe(
        name=name,
        dockerfile="builder/Dockerfile",
        files=(*COMMON, f"requirements/{name}.txt", "runtime/edgesmith_runtime", "builder/edgesmith_builder"),
        platforms=platforms,
        asked=bool(flavour),
        flavour=flavour,
    )


def key(sources: str, bases: Iterable[str], platforms: Iterable[str]) -> str:
    """Hashes everything that decides an image's bytes.

    Args:
        sources: The snapshot's hash.
        bases: The digests of the images it is built in and on.
        platforms: What it is built for.

    Returns:
        16 hex digits.
    """
    parts = {"format": FORMAT, "sources": sources, "bases": list(bases), "platforms": list(platforms)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
