"""What a registry asks for in `WWW-Authenticate`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a word
_PART = re.compile(rf'({_TOKEN})(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|(?=[\s,]|$))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that is offered; RFC 9110, 11.6.1."""

    scheme: str
    """`basic`, `bearer` or another, in lower case."""
    parameters: Mapping[str, str]
    """By name in lower case, as they stand: blanks are part of a value."""

    @classmethod
    def parse(cls, headers: Iterable[str]) -> list[Challenge]:
        """Read every challenge of the headers, of which each may hold several; what is none is left out."""
        found: list[Challenge] = []
        for header in headers:
            parameters: dict[str, str] = {}
            for part in _PART.finditer(header):
                quoted, plain = part[2], part[3]
                if quoted is None and plain is None:
                    parameters = {}
                    found.append(cls(part[1].lower(), parameters))
                else:
                    parameters[part[1].lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        return found
