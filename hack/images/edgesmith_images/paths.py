"""Where things lie: the repository, the cache and its parts."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
"""The root of the working tree these scripts belong to."""


@dataclass(frozen=True)
class Cache:
    """The folder that outlives a run.

    Attributes:
        root: ``${EDGESMITH_CACHE:-~/.cache/edgesmith}/images``.
    """

    root: Path

    @classmethod
    def of_environment(cls) -> Cache:
        """Reads ``EDGESMITH_CACHE`` and creates the folder.

        Returns:
            The cache.
        """
        root = Path(os.environ.get("EDGESMITH_CACHE") or Path.home() / ".cache" / "edgesmith").absolute() / "images"
        for part in (root, root / "bases", root / "layers", root / "logs", root / "tmp"):
            part.mkdir(parents=True, exist_ok=True)
        return cls(root)

    @property
    def bases(self) -> Path:
        """OCI layouts of the Debian bases."""
        return self.root / "bases"

    @property
    def layers(self) -> Path:
        """Compressed layers by the digest of what they hold."""
        return self.root / "layers"

    @property
    def logs(self) -> Path:
        """What the tools printed."""
        return self.root / "logs"

    @property
    def scratch(self) -> Path:
        """Half-made things, on the same file system as the finished ones."""
        return self.root / "tmp"

    @property
    def lock(self) -> Path:
        """The file whose lock says who may write."""
        return self.root / "lock"


def project_version() -> str:
    """Reads the project's version.

    Returns:
        ``project.version`` of pyproject.toml, the tag images are pushed under.
    """
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
