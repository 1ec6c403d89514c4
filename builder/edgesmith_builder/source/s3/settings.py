"""How to reach the object store: from a mounted Secret, or else from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.source.held import held
from edgesmith_builder.source.s3.identity import Identity

AMAZON = "https://s3.amazonaws.com"
"""The endpoint where none is given."""

_ENDPOINT = re.compile(r"(https?)://((?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?)/?")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_REGION = re.compile(r"(?:s3-)?([a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2})")
_AMAZON_HOST = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?(:[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """An object store and who we are there; without keys, nobody."""

    host: str
    """`HOST[:PORT]`."""
    secure: bool
    region: str | None = None
    """Of a regional Amazon endpoint, the one in its name; None lets Amazon say."""
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    """Belongs to keys that end by themselves."""
    identity: Identity | None = None
    """Who lends us keys, where there are none of our own."""
    authorities: str | None = field(default=None, repr=False)
    """Certificates in PEM of authorities to trust besides the public ones."""

    @classmethod
    def read(cls, folder: Path | None, environment: Mapping[str, str], authorities: str | None = None) -> StoreSettings:
        """Read them from a folder with a file each, as a mounted Secret has, and what is not there from variables.

        Keys are taken together, from the one place or from the other: a session token belongs to its keys.

        Raises:
            RequestInvalid: for an endpoint that is no `http(s)://HOST:PORT`, and for half a pair of keys.
        """
        inside = held(_KEYS[0], folder, {}) or held(_KEYS[1], folder, {})
        access, secret, token = (held(name, folder, {} if inside else environment) for name in _KEYS)
        if bool(access) != bool(secret):
            given, missing = sorted(_KEYS[:2], key=lambda name: not {_KEYS[0]: access, _KEYS[1]: secret}[name])
            raise RequestInvalid(f"the credentials have {given} but no {missing}; both or neither were expected")
        endpoint = held("AWS_ENDPOINT_URL", folder, environment) or AMAZON
        found = _ENDPOINT.fullmatch(endpoint)
        if found is None:
            # An endpoint with a user and a password in it must not reach a log.
            shown = repr(endpoint) if "@" not in endpoint else "an address with a login in it"
            raise RequestInvalid(f"AWS_ENDPOINT_URL is {shown}; http://HOST:PORT or https://HOST:PORT was expected")
        host, amazon = found[2], _AMAZON_HOST.fullmatch(found[2]) is not None
        given = held("AWS_REGION", folder, environment)
        region = (_named_region(host) if amazon else None) or given or (None if amazon else "us-east-1")
        store = f"{found[1]}://{host}"
        identity = None if access else Identity.read(environment, given or region, store, amazon=amazon)
        return cls(
            host=host,
            secure=found[1] == "https",
            region=region,
            access_key=access or None,
            secret_key=secret or None,
            session_token=(token or None) if access else None,
            identity=identity,
            authorities=authorities,
        )

    @property
    def amazon(self) -> bool:
        """Whether the store is Amazon's."""
        return _AMAZON_HOST.fullmatch(self.host) is not None

    @property
    def endpoint(self) -> str:
        """The address, for messages."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


def _named_region(host: str) -> str | None:
    """The region in the name of an Amazon endpoint, which takes requests that are signed for it and no others.

    A variable may name another one: EKS sets `AWS_REGION` of each pod that is given a role, to the cluster's own.
    """
    found = [match[1] for label in host.split(".") if (match := _REGION.fullmatch(label))]
    return found[-1] if found else None
