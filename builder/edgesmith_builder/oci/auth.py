"""Logins: where they come from and how they answer a registry's challenge.

The bearer flow is that of the distribution project's token specification: 401 with `WWW-Authenticate: Bearer
realm=…,service=…,scope=…`, a GET to the realm with the login as basic authentication, and the token from its answer.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgesmith_builder.oci.reference import Repository

log = logging.getLogger(__name__)

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_CHALLENGE = re.compile(r'([a-zA-Z_]+)=(?:"([^"]*)"|([^\s,]+))')


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password."""

    username: str
    password: str = field(repr=False)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Logins by registry, as in the `auths` of a `.dockerconfigjson`."""

    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    """By `HOST[:PORT]` or `HOST[:PORT]/PATH`."""

    @classmethod
    def from_file(cls, path: Path) -> Credentials:
        """Read a `.dockerconfigjson`.

        Raises:
            ValueError: in one sentence without any of the content, when it is not one.
            OSError: when it cannot be read.
        """
        return cls.from_json(path.read_text(encoding="utf-8"), str(path))

    @classmethod
    def from_json(cls, text: str, where: str = "the registry credentials") -> Credentials:
        """Read the text of a `.dockerconfigjson`; `where` is what messages call it.

        Raises:
            ValueError: in one sentence without any of the content, when it is not one.
        """
        logins = {}
        try:
            for name, entry in json.loads(text).get("auths", {}).items():
                login = _login(entry)
                if login is not None:
                    logins[_plain(name)] = login
        except (AttributeError, TypeError, ValueError, binascii.Error):
            # The cause is dropped on purpose: a decoder's message quotes what it could not decode.
            raise ValueError(f'{where} is not a .dockerconfigjson; {{"auths": {{"HOST": …}}}} was expected') from None
        return cls(logins)

    def login(self, repository: Repository) -> Login | None:
        """The login whose key is the longest prefix of a repository's name."""
        host = "docker.io" if repository.registry in _DOCKER_HUB else repository.registry
        parts = [host, *repository.name.split("/")]
        for end in range(len(parts), 0, -1):
            found = self.logins.get("/".join(parts[:end]))
            if found is not None:
                return found
        return None


class Logins(Protocol):
    """Where a client looks for the login of a repository whenever its registry asks for one."""

    def login(self, repository: Repository) -> Login | None:
        """The login for a repository, or None."""


class CredentialsFile:
    """A `.dockerconfigjson` that is read again at each question: a mounted Secret changes under a running program.

    Args:
        path: The file.

    Raises:
        ValueError: when it is none, in one sentence without any of the content.
        OSError: when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = Credentials.from_file(path)

    def login(self, repository: Repository) -> Login | None:
        """The login that stands in the file now; what stood there before, where it cannot be read."""
        try:
            self._last = Credentials.from_file(self._path)
        except (OSError, ValueError) as error:
            log.warning("the registry credentials are used as they were: %s", error)
        return self._last.login(repository)


def _login(entry: Mapping[str, str]) -> Login | None:
    if entry.get("auth"):
        username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        if not colon:
            raise ValueError("auth is not name:password")
        return Login(username, password)
    if entry.get("username"):
        return Login(entry["username"], entry.get("password", ""))
    return None


def _plain(name: str) -> str:
    """A key of `auths` as `HOST[/PATH]`: schemes and Docker's `/v1/` go, Docker Hub has one name."""
    name = re.sub(r"^https?://", "", name)
    name = re.sub(r"/v[12]/?$", "", name).rstrip("/")
    host, slash, path = name.partition("/")
    return ("docker.io" if host in _DOCKER_HUB else host) + slash + path


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for in `WWW-Authenticate`."""

    scheme: str
    """`basic` or `bearer`, in lower case."""
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """Read one challenge; an empty header gives an empty scheme."""
        scheme, _, rest = header.partition(" ")
        parameters = {found[1].lower(): found[2] or found[3] or "" for found in _CHALLENGE.finditer(rest)}
        return cls(scheme.lower(), parameters)
