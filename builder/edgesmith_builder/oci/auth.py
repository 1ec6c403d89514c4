"""Logins, and where they come from.

Form: the `config.json` of Docker's command line, in a Kubernetes Secret of type `kubernetes.io/dockerconfigjson`.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgesmith_builder.oci.content import parsed
from edgesmith_builder.oci.reference import Repository

log = logging.getLogger(__name__)

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password, or a token that stands for them."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    """Exchanged for tokens; where there is one, the password is not used for that."""

    @property
    def has_password(self) -> bool:
        """Whether it can be sent as it is: an identity token often comes with a name and no password."""
        return bool(self.password) or not self.identity_token

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Logins by registry, as in the `auths` of a `.dockerconfigjson`."""

    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    """By `HOST[:PORT]` or `HOST[:PORT]/PATH`."""
    helpers: Mapping[str, str] = field(default_factory=dict)
    """By `HOST[:PORT]`, the program that keeps a login outside the file: `credHelpers`."""
    store: str = ""
    """The program that keeps all other logins outside the file: `credsStore`."""

    @classmethod
    def from_file(cls, path: Path, named_by: str) -> Credentials:
        """Read a `.dockerconfigjson`.

        Args:
            path: The file.
            named_by: The option or variable whose value the path is, for messages: the value may be a login by mistake.

        Raises:
            ValueError: in one sentence without path or content, when it is none or cannot be read.
        """
        try:
            text = path.read_bytes()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            # The cause is dropped on purpose: its message has the path.
            raise ValueError(
                f"{named_by} names no file that can be read: {why}; a .dockerconfigjson was expected"
            ) from None
        return cls.from_json(text, f"the file that {named_by} names")

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the registry credentials") -> Credentials:
        """Read the text of a `.dockerconfigjson`; `where` is what messages call it.

        Raises:
            ValueError: in one sentence without any of the content, when it is not one.
        """
        logins = {}
        try:
            config = parsed(text)
            helpers = {_plain(name): str(helper) for name, helper in config.get("credHelpers", {}).items()}
            store = str(config.get("credsStore", ""))
            for name, entry in config.get("auths", {}).items():
                login = _login(entry)
                if login is not None:
                    logins[_plain(name)] = login
        except (AttributeError, TypeError, ValueError, binascii.Error):
            # The cause is dropped on purpose: a decoder's message quotes what it could not decode.
            raise ValueError(f'{where} is not a .dockerconfigjson; {{"auths": {{"HOST": …}}}} was expected') from None
        return cls(logins, helpers, store)

    def login(self, repository: Repository) -> Login | None:
        """The login whose key is the longest prefix of a repository's name."""
        parts = [_host(repository), *repository.name.split("/")]
        for end in range(len(parts), 0, -1):
            found = self.logins.get("/".join(parts[:end]))
            if found is not None:
                return found
        return None

    def elsewhere(self, repository: Repository) -> str | None:
        """What to say where a login is kept by a program that does not run here; None where none is."""
        field_, helper = "credHelpers", self.helpers.get(_host(repository))
        if helper is None:
            field_, helper = "credsStore", self.store
        if not helper or self.login(repository) is not None:
            return None
        return (
            f"the credentials leave its login to docker-credential-{helper} by {field_}, which does not run here; "
            "an entry under auths with username and password was expected"
        )


class Logins(Protocol):
    """Where a client looks for the login of a repository whenever its registry asks for one."""

    def login(self, repository: Repository) -> Login | None:
        """The login for a repository, or None."""

    def elsewhere(self, repository: Repository) -> str | None:
        """What to say where a login is kept outside the credentials; None where none is."""


class CredentialsFile:
    """A `.dockerconfigjson` that is read again at each question: a mounted Secret changes under a running program.

    Args:
        path: The file.
        named_by: The option or variable whose value the path is, for messages.

    Raises:
        ValueError: when it is none or cannot be read, in one sentence without path or content.
    """

    def __init__(self, path: Path, named_by: str) -> None:
        self._path, self._named_by = path, named_by
        self._last = Credentials.from_file(path, named_by)

    def login(self, repository: Repository) -> Login | None:
        """The login that stands in the file now; what stood there before, where it cannot be read."""
        try:
            self._last = Credentials.from_file(self._path, self._named_by)
        except ValueError as error:
            log.warning("the registry credentials are used as they were: %s", error)
        return self._last.login(repository)

    def elsewhere(self, repository: Repository) -> str | None:
        """As in what was read last: it is asked after a login was looked for."""
        return self._last.elsewhere(repository)


def _login(entry: Mapping[str, str]) -> Login | None:
    """One entry of `auths`; None for an empty one, as it is where the login is kept elsewhere."""
    username, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        if not colon:
            raise ValueError("auth is not name:password")
    token = entry.get("identitytoken", "")
    return Login(username, password, token) if username or password or token else None


def _host(repository: Repository) -> str:
    """A repository's registry, as `auths` names it."""
    return "docker.io" if repository.registry in _DOCKER_HUB else repository.registry


def _plain(name: str) -> str:
    """A key of `auths` as `HOST[/PATH]`: schemes and Docker's `/v1/` go, Docker Hub has one name."""
    name = re.sub(r"^https?://", "", name)
    name = re.sub(r"/v[12]/?$", "", name).rstrip("/")
    host, slash, path = name.partition("/")
    return ("docker.io" if host in _DOCKER_HUB else host) + slash + path
