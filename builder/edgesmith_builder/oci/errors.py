"""What can go wrong between us and a registry.

    RegistryError
    ├── RegistryUnreachable   nobody answered, or only with 5xx; the same request may succeed later
    ├── RegistryForbidden     401 or 403: the login is missing, wrong or not allowed to do this
    └── RegistryRefused       any other answer that is not what was asked for, a wrong digest included; a certificate
                              that is not trusted

Every message is one sentence that names the registry and repository. Query strings, tokens and passwords never
get into one: upload addresses carry state that is a secret for as long as the upload lives.
"""

from __future__ import annotations


class RegistryError(Exception):
    """The root of this package's errors."""

    retry: bool = False
    """Whether the same call can succeed later without anybody changing anything."""


class RegistryUnreachable(RegistryError):  # noqa: N818 - the name is the reason that users see
    """No usable answer: refused or broken connection, time-out, or 5xx to the last attempt."""

    retry = True

    def __init__(self, message: str, asked: float = 0.0) -> None:
        super().__init__(message)
        self.asked = asked
        """Seconds that the registry asked to be left alone for; 0 where it did not."""


class RegistryForbidden(RegistryError):  # noqa: N818 - the name is the reason that users see
    """The registry wants a login, or another one."""


class RegistryRefused(RegistryError):  # noqa: N818 - the name is the reason that users see
    """The registry said no, or said something that cannot be trusted."""
