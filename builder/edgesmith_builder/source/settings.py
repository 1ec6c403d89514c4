"""How to reach the object store: from a mounted Secret, or else from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgesmith_builder.errors import RequestInvalid

AMAZON = "https://s3.amazonaws.com"
"""The endpoint where none is given."""

_ENDPOINT = re.compile(r"(https?)://((?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?)/?")
_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """An object store and who we are there; without keys, nobody."""

    host: str
    """`HOST[:PORT]`."""
    secure: bool
    region: str | None = None
    """None lets the store say."""
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, folder: Path | None, environment: Mapping[str, str]) -> StoreSettings:
        """Read them from a folder with a file each, as a mounted Secret has, and what is not there from variables.

        Raises:
            RequestInvalid: for an endpoint that is no `http(s)://HOST:PORT`, and for half a pair of keys.
        """
        values = {name: _value(name, folder, environment) for name in _NAMES}
        access, secret = values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"]
        if bool(access) != bool(secret):
            given, missing = sorted(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), key=lambda name: not values[name])
            raise RequestInvalid(f"the credentials have {given} but no {missing}; both or neither were expected")
        endpoint = values["AWS_ENDPOINT_URL"] or AMAZON
        found = _ENDPOINT.fullmatch(endpoint)
        if found is None:
            # An endpoint with a user and a password in it must not reach a log.
            shown = repr(endpoint) if "@" not in endpoint else "an address with a login in it"
            raise RequestInvalid(f"AWS_ENDPOINT_URL is {shown}; http://HOST:PORT or https://HOST:PORT was expected")
        region = values["AWS_REGION"] or (None if endpoint == AMAZON else "us-east-1")
        return cls(found[2], found[1] == "https", region, access or None, secret or None)

    @property
    def endpoint(self) -> str:
        """The address, for messages."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


def _value(name: str, folder: Path | None, environment: Mapping[str, str]) -> str:
    if folder is not None:
        try:
            return (folder / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            raise RequestInvalid(
                f"the credentials' file {name} cannot be read ({type(error).__name__}); text was expected"
            ) from None
    return environment.get(name, "").strip()
