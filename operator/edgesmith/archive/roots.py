"""What an archive lists: its images and what hangs on them, each with where it belongs in a registry.

Format: `index.json` of an OCI image layout (image specification 1.1, `image-layout.md`), with annotations of ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgesmith_builder.oci import Descriptor, Repository
from edgesmith_builder.oci.content import INDEX, canonical

LAYOUT = canonical({"imageLayoutVersion": "1.0.0"})
"""The content of `oci-layout`."""
PATH = "dev.edgesmith.archive.repository"
"""The path of the repository below its registry."""
ROLE = "dev.edgesmith.archive.role"
TAG = "org.opencontainers.image.ref.name"

Role = Literal["runtime", "operator", "chart", "manifests", "model", "referrer"]
ROLES: tuple[Role, ...] = get_args(Role)
"""In the order in which they are pushed: a model's image shares the runtime's layers."""

_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class ArchiveError(ValueError):
    """An archive cannot be made or is not to be trusted; one sentence."""


@dataclass(frozen=True, slots=True)
class Root:
    """One manifest or index that an archive lists."""

    descriptor: Descriptor
    role: Role
    path: str
    """The repository below its registry: `models/plant/models`."""
    tag: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of `index.json`."""
        tag = {TAG: self.tag} if self.tag else {}
        return {**self.descriptor.to_json(), "annotations": {PATH: self.path, ROLE: self.role, **tag}}


def placed(target: str, path: str) -> Repository:
    """Where something belongs in a registry.

    Args:
        target: `HOST[:PORT]`, or `HOST[:PORT]/PREFIX`.
        path: The repository below it.

    Raises:
        ArchiveError: The target is none.
    """
    try:
        return Repository.parse(f"{target}/{path}")
    except ValueError:
        raise ArchiveError(
            f"the registry is {target!r}; HOST[:PORT] or HOST[:PORT]/PREFIX was expected, in lower case and without a "
            "scheme"
        ) from None


def index_of(roots: Iterable[Mapping[str, Any]]) -> bytes:
    """`index.json`; the same for the same entries.

    Args:
        roots: The entries, in the order in which they are to stand.
    """
    return canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(roots)})


def roots_in(index: bytes) -> tuple[Root, ...]:
    """What `index.json` lists.

    Raises:
        ArchiveError: It is no such index, or an entry does not say where it belongs.
    """
    try:
        return tuple(_root(entry) for entry in json.loads(index)["manifests"])
    except ArchiveError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArchiveError(f"index.json is not that of an archive of images ({type(error).__name__})") from None


def _root(entry: Mapping[str, Any]) -> Root:
    notes = entry.get("annotations") or {}
    role, path, tag = notes.get(ROLE), notes.get(PATH), notes.get(TAG)
    if role not in ROLES:
        raise ArchiveError(f"index.json has an entry with {ROLE} {role!r:.80}; one of {', '.join(ROLES)} was expected")
    if tag is not None and not _TAG.fullmatch(tag):
        raise ArchiveError(f"index.json has an entry with the tag {tag!r:.160}, which is none")
    try:
        Repository.parse(f"registry/{path}")
    except ValueError:
        raise ArchiveError(f"index.json has an entry with {PATH} {path!r:.160}, which is no repository") from None
    return Root(Descriptor.from_json(entry), role, str(path), tag)
