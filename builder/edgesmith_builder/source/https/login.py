"""Who we are on a web server: from a mounted Secret, or else from the environment.

The Secret itself says which server it is for. Otherwise whoever may write a URI could have a password that they may not
read sent to a server of their own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.source.held import held

NAMES = ("HTTPS_TOKEN", "HTTPS_USERNAME", "HTTPS_PASSWORD")
HOST = "HTTPS_HOST"

_HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class WebLogin:
    """A login for one server."""

    host: str
    """`HOST[:PORT]`, in small letters."""
    authorization: str = field(repr=False)
    """What the header of that name says."""

    @classmethod
    def read(cls, folder: Path | None, environment: Mapping[str, str]) -> WebLogin | None:
        """Read it from a folder with a file each, or else from variables; None where there is none.

        What belongs together is taken from one place: a folder that has any of it has all of it.

        Raises:
            RequestInvalid: where a part is missing, there are two logins, or one cannot be sent; without its content.
        """
        inside = any(held(name, folder, {}) for name in NAMES)
        values = {name: held(name, folder, {} if inside else environment) for name in (HOST, *NAMES)}
        token, username, password = (values[name] for name in NAMES)
        given = [name for name in NAMES if values[name]]
        if not given:
            return None
        if token and (username or password):
            raise RequestInvalid(
                f"the credentials have {' and '.join(given)}; a token or a name was expected, not both"
            )
        if not token and not (username and password):
            missing = NAMES[1] if password else NAMES[2]
            raise RequestInvalid(f"the credentials have {given[0]} but no {missing}; both or neither were expected")
        host = values[HOST].lower()
        if not _HOST.fullmatch(host):
            raise RequestInvalid(
                f"{HOST} of the credentials is {host[:100]!r}; the HOST or HOST:PORT that they are for was expected"
            )
        if token:
            if not _TOKEN.fullmatch(token):
                raise RequestInvalid("HTTPS_TOKEN has a blank or a letter beyond ASCII in it; a token was expected")
            return cls(host, f"Bearer {token}")
        if ":" in username:
            raise RequestInvalid("HTTPS_USERNAME has a ':' in it; a name without was expected")
        return cls(host, "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode())

    def is_for(self, url: httpx.URL) -> bool:
        """Whether an address is on the server that it is for: host and port."""
        found = _HOST.fullmatch(self.host)
        if found is None or url.scheme != "https":
            return False
        return (url.host, url.port or 443) == (found[1].strip("[]"), int(found[2] or 443))
