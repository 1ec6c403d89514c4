"""One object into a bucket, over a connection that is kept for the next."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.uplink.answers import Outcome, meaning
from edgesmith_runtime.uplink.connecting import Distrusted, connect
from edgesmith_runtime.uplink.rate import Body
from edgesmith_runtime.uplink.signing import path_of, signed

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.uplink.certificates import Good
    from edgesmith_runtime.uplink.clock import BucketClock
    from edgesmith_runtime.uplink.credentials import Login
    from edgesmith_runtime.uplink.rate import Rate

__all__ = ["Bucket", "Target"]

_ANSWER: Final = 60.0
"""Seconds without a byte, after which the link counts as cut."""
_LONGEST: Final = 65_536


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
        self._good: Good | None = None

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
        except Distrusted as error:
            self.close()
            return Outcome("Distrusted", str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            found = self._early() if isinstance(error, BrokenPipeError | ConnectionResetError) else None
            self.close()
            if found is not None:
                return replace(found, sent=body.sent)
            kind = type(error).__name__
            words = f"{login.host} gives no answer ({kind}); a bucket was expected there"
            return Outcome("Unreachable", words, sent=body.sent)
        other = self._clock.hear(answer.getheader("Date"), self._good)
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
            other = self._clock.hear(answer.getheader("Date"), self._good)
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
        self._connection, self._good = connect(login, self._target.authority, self._clock)
        self._login = login
        if self._connection.sock is not None:
            self._connection.sock.settimeout(_ANSWER)
        return self._connection


def _after(first: Outcome, second: Outcome) -> Outcome:
    """The second of two tries, with the bytes of both."""
    return replace(second, sent=first.sent + second.sent, wait=max(0.0, second.wait))
