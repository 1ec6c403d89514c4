"""One object into a bucket, over a connection that is kept for the next."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.uplink.answers import Outcome, meaning
from edgesmith_runtime.uplink.rate import Body
from edgesmith_runtime.uplink.signing import path_of, signed

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.uplink.clock import BucketClock
    from edgesmith_runtime.uplink.credentials import Login
    from edgesmith_runtime.uplink.rate import Rate

__all__ = ["Bucket", "Target"]

_CONNECT: Final = 10.0
_ANSWER: Final = 60.0
"""Seconds without a byte, after which the link counts as cut."""
_LONGEST: Final = 65_536
_OUT_OF_TIME: Final = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where objects go.

    Attributes:
        bucket: The bucket's name.
        prefix: What keys begin with: `PREFIX/NODE/NAMESPACE/MODEL`.
        authority: A file of certificates in PEM to trust besides the public ones.
    """

    bucket: str
    prefix: str
    authority: Path | None = None


class Bucket:
    """A bucket.

    Args:
        target: Where objects go.
        clock: Its time.
        rate: What bounds the bytes on the link.
    """

    def __init__(self, target: Target, clock: BucketClock, rate: Rate) -> None:
        self._target = target
        self._clock = clock
        self._rate = rate
        self._conditional = True
        self._login: Login | None = None
        self._connection: http.client.HTTPConnection | None = None

    def put(self, login: Login, digest: str, data: bytes) -> Outcome:
        """Put an object where none is; one that is there already is the same, since its key is its digest.

        A refusal that is about the time or the condition is answered at once with another try.

        Args:
            login: Who writes, and where.
            digest: The SHA-256 of its bytes.
            data: Its bytes.
        """
        kept = self._connection is not None and login == self._login
        found = self._try(login, digest, data)
        if kept and found.reason == "Unreachable":
            found = _after(found, self._try(login, digest, data))  # the other end had closed what was kept
        if found.reason == "Unsupported" and self._conditional:
            self._conditional = False
            return _after(found, self._try(login, digest, data))
        if found.reason == "ClockWrong" and found.wait < 0:
            return _after(found, self._try(login, digest, data))
        return replace(found, wait=max(0.0, found.wait))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _try(self, login: Login, digest: str, data: bytes) -> Outcome:
        target = self._target
        path = path_of(target.bucket, f"{target.prefix}/{digest}.npz")
        headers = {"Host": login.host, "Content-Length": str(len(data)), "Content-Type": "application/octet-stream"}
        if self._conditional:
            headers["If-None-Match"] = "*"
        body = Body(data, self._rate)
        try:
            connection = self._connected(login)
            connection.request(
                "PUT", path, body=body, headers=signed(login.keys, path, headers, digest, self._clock.now())
            )
            answer = connection.getresponse()
            said = answer.read(_LONGEST)
        except ssl.SSLCertVerificationError as error:
            self.close()
            return _distrusted(login, error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            found = self._early() if isinstance(error, BrokenPipeError | ConnectionResetError) else None
            self.close()
            if found is not None:
                return replace(found, sent=body.sent)
            kind = type(error).__name__
            words = f"{login.host} gives no answer ({kind}); a bucket was expected there"
            return Outcome("Unreachable", words, sent=body.sent)
        other = self._clock.hear(answer.getheader("Date"))
        if answer.will_close or not answer.isclosed():
            self.close()
        found = meaning(answer.status, said, target.bucket, answer.getheader("Retry-After"))
        if other and found.reason in ("ClockWrong", "Forbidden"):
            found = replace(found, reason="ClockWrong", wait=-1.0)
        return replace(found, sent=body.sent)

    def _early(self) -> Outcome | None:
        """The answer of a bucket that refused before it had read all; None where there is none."""
        connection = self._connection
        if connection is None or connection.sock is None:
            return None
        answer = http.client.HTTPResponse(connection.sock, method="PUT")
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            answer.begin()
            said = answer.read(_LONGEST)
            other = self._clock.hear(answer.getheader("Date"))
            found = meaning(answer.status, said, self._target.bucket, answer.getheader("Retry-After"))
            if found.stored:
                return None
            wrong = other and found.reason in ("ClockWrong", "Forbidden")
            return replace(found, reason="ClockWrong", wait=-1.0) if wrong else found
        return None

    def _connected(self, login: Login) -> http.client.HTTPConnection:
        if self._connection is not None and login == self._login:
            return self._connection
        self.close()
        if login.secure:
            trust = ssl.create_default_context()
            if self._target.authority is not None:
                trust.load_verify_locations(cafile=self._target.authority)
            self._connection = http.client.HTTPSConnection(login.host, timeout=_CONNECT, context=trust)
        else:
            self._connection = http.client.HTTPConnection(login.host, timeout=_CONNECT)
        self._login = login
        self._connection.connect()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(_ANSWER)
        return self._connection


def _after(first: Outcome, second: Outcome) -> Outcome:
    """The second of two tries, with the bytes of both."""
    return replace(second, sent=first.sent + second.sent, wait=max(0.0, second.wait))


def _distrusted(login: Login, error: ssl.SSLCertVerificationError) -> Outcome:
    if error.verify_code in _OUT_OF_TIME:
        words = f"the certificate of {login.host} is not good at the time that this node's clock has"
        return Outcome("ClockWrong", f"{words}; a clock that is right was expected")
    words = f"the certificate of {login.host} is not trusted ({error.verify_message})"
    return Outcome("Distrusted", f"{words}; one of an authority that is known was expected")
