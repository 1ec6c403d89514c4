"""Names of images: `REGISTRY/NAME[:TAG][@DIGEST]`.

Grammar: the distribution specification 1.1, "Pulling manifests". The registry is never left out: a default registry
would send an edge site's images to somebody else's server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REGISTRY = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A place in a registry that holds images."""

    registry: str
    """`HOST[:PORT]`."""
    name: str
    """The path below it, such as `edgesmith/runtime`."""

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read `REGISTRY/NAME`.

        Raises:
            ValueError: in one sentence, when it is anything else.
        """
        registry, _, name = text.partition("/")
        if not name:
            raise ValueError(f"{text!r} names no registry; REGISTRY/NAME was expected, such as hub:5000/team/model")
        if not _REGISTRY.fullmatch(registry):
            raise ValueError(f"{text!r} does not begin with a registry; HOST or HOST:PORT was expected")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{text!r} has the repository {name!r}; lower-case words between slashes were expected")
        return cls(registry, name)

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"

    def tagged(self, tag: str) -> Reference:
        """The reference to one tag of this repository."""
        return Reference(self, tag=tag)

    def pinned(self, digest: str) -> Reference:
        """The reference to one content of this repository."""
        return Reference(self, digest=digest)


@dataclass(frozen=True, slots=True)
class Reference:
    """One image in a repository, by tag, by digest or by both; the digest then decides."""

    repository: Repository
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `REGISTRY/NAME:TAG`, `REGISTRY/NAME@sha256:HEX` or both.

        Raises:
            ValueError: in one sentence, when it is anything else.
        """
        rest, at, digest = text.partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise ValueError(f"{text!r} has the digest {digest!r}; sha256: and 64 hex digits were expected")
        slash = rest.rfind("/")
        colon = rest.rfind(":")
        if slash < 0:
            raise ValueError(f"{text!r} names no registry; REGISTRY/NAME:TAG or REGISTRY/NAME@DIGEST was expected")
        tag = rest[colon + 1 :] if colon > slash else None
        if tag is not None:
            if not _TAG.fullmatch(tag):
                raise ValueError(f"{text!r} has the tag {tag!r}; up to 128 letters, digits, _ . - were expected")
            rest = rest[:colon]
        if tag is None and not at:
            raise ValueError(f"{text!r} has neither tag nor digest; one of them was expected")
        return cls(Repository.parse(rest), tag=tag, digest=digest if at else None)

    @property
    def target(self) -> str:
        """What goes into the address: the digest, or else the tag."""
        target = self.digest or self.tag
        if target is None:
            raise ValueError(f"{self.repository} was given without tag and digest; one of them was expected")
        return target

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"
