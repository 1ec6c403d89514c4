"""Who writes: read from a mounted Secret, anew for each object, so that keys can be changed while it runs.

The Secret has one file a node, named as the node is, with lines `NAME=VALUE`; or a file a name for all nodes alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.uplink.signing import Keys

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CredentialsInvalid", "Login", "read_login"]

_LONGEST: Final = 16_384
_ENDPOINT: Final = re.compile(r"(https?)://((?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?)/?")
_NAMES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION")
_AMAZON: Final = "https://s3.{region}.amazonaws.com"
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class CredentialsInvalid(Exception):  # noqa: N818 - reads as what they are
    """The Secret does not say who writes, or where; the message holds none of it."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who writes, and where.

    Attributes:
        keys: Who.
        host: `HOST[:PORT]`.
        secure: Whether over TLS.
    """

    keys: Keys
    host: str
    secure: bool


def read_login(folder: Path, node: str, endpoint: str = "") -> Login:
    """Read who writes.

    Args:
        folder: The mounted Secret.
        node: The node's name.
        endpoint: Where the bucket is unless the Secret says it; empty for Amazon's.

    Raises:
        CredentialsInvalid: In one sentence.
    """
    own = _read(folder / node) if _NODE.fullmatch(node) else None
    found = _lines(own) if own is not None else {}
    for name in _NAMES:
        # Keys belong together: those of all nodes do not mend half a pair of this one's.
        if own is None or name in ("AWS_ENDPOINT_URL", "AWS_REGION"):
            found.setdefault(name, (_read(folder / name) or "").strip())
    region = found.get("AWS_REGION") or "us-east-1"
    given = found.get("AWS_ENDPOINT_URL") or endpoint or _AMAZON.format(region=region)
    place = _ENDPOINT.fullmatch(given)
    if place is None:
        raise CredentialsInvalid("AWS_ENDPOINT_URL is no address; http://HOST:PORT or https://HOST:PORT was expected")
    access, secret = found.get("AWS_ACCESS_KEY_ID", ""), found.get("AWS_SECRET_ACCESS_KEY", "")
    if not access or not secret:
        raise CredentialsInvalid(
            f"the Secret has no keys for this node; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its key {node!r}, "
            "or as keys of their own, were expected"
        )
    return Login(Keys(access, secret, found.get("AWS_SESSION_TOKEN", ""), region), place[2], place[1] == "https")


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return stream.read(_LONGEST).decode()
    except (OSError, UnicodeDecodeError):
        return None


def _lines(text: str) -> dict[str, str]:
    parts = (line.strip().partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in parts if equals and name.strip() in _NAMES}
