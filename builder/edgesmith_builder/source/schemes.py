"""Finds the place that a URI is about by its scheme."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgesmith_builder.contract import Artifact
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.source.interface import Fetched, Limit, Place, Seen


class Sources:
    """All places that there are, as one.

    Args:
        places: By the schemes of their URIs, in small letters.
        sizes: How many bytes files are said to have, by the field that names them.
    """

    def __init__(self, places: Mapping[str, Place], sizes: Mapping[str, int] | None = None) -> None:
        self._places = dict(places)
        self._sizes = dict(sizes or {})
        self.digests: dict[str, str] = {}
        """64 hex digits of what was fetched, by the field that names it."""

    @property
    def form(self) -> str:
        """How a URI of any of them looks."""
        return " or ".join(place.form for place in self._places.values())

    def look(self, field: str, artifact: Artifact, limit: Limit) -> Seen:
        """Ask what lies at a URI without fetching it; see `Place.look`.

        Raises:
            RequestInvalid: where its scheme is none of these.
            BuildError: as the place has it.
        """
        return self._place(field, artifact).look(field, artifact, limit)

    def fetch(self, field: str, artifact: Artifact, target: Path, limit: Limit) -> Fetched:
        """Bring what a URI names into a file; see `Source.fetch`.

        Raises:
            RequestInvalid: where its scheme is none of these, or it has other than the bytes that are said.
            BuildError: as the place has it.
        """
        fetched = self._place(field, artifact).fetch(field, artifact, target, limit)
        said = self._sizes.get(field, fetched.size)
        if said != fetched.size:
            raise RequestInvalid(
                f"{field}.bytes is {said}, but {artifact.shown} has {fetched.size}; that number was expected, or none: "
                "bytes may be left out"
            )
        self.digests[field] = fetched.sha256
        return fetched

    def _place(self, field: str, artifact: Artifact) -> Place:
        scheme, found, _ = artifact.uri.partition("://")
        place = self._places.get(scheme) if found else None
        if place is None:
            raise RequestInvalid(f"{field}.uri is {artifact.shown!r}; {self.form} was expected")
        return place
