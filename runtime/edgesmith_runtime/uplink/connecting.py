"""A connection to a bucket that is who it says, also where the node's clock is wrong by years (decision 63)."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.uplink.certificates import OUT_OF_TIME, Good, good_of, leave_out_time, trusting

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.uplink.clock import BucketClock
    from edgesmith_runtime.uplink.credentials import Login

__all__ = ["Distrusted", "connect"]

_SECONDS: Final = 10.0
_EXPECTED: Final = "one that is good now was expected"


class Distrusted(Exception):  # noqa: N818 - reads as what it is
    """The certificate is not believed; the message is one sentence."""


def connect(login: Login, authority: Path | None, clock: BucketClock) -> tuple[http.client.HTTPConnection, Good | None]:
    """Connect; returns the connection, and when the certificates of the other end are good where it has any.

    Args:
        login: Where to.
        authority: Certificates in PEM to trust besides the public ones.
        clock: The bucket's time; where the node's is another it is learnt here.

    Raises:
        Distrusted: The certificate is not trusted, or not good at any time that it can be.
        OSError: Nobody is there.
        http.client.HTTPException: What is there does not speak HTTP.
    """
    if not login.secure:
        return _opened(http.client.HTTPConnection(login.host, timeout=_SECONDS)), None
    trust = trusting(authority)
    try:
        return _secured(login, trust)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in OUT_OF_TIME:
            raise _unknown(login, error) from None
    if clock.kept():
        raise Distrusted(
            f"the certificate of {login.host} is not good at this node's time, and its clock is kept right; {_EXPECTED}"
        )
    leave_out_time(trust)
    try:
        return _at_its_time(login, trust, clock)
    except ssl.SSLCertVerificationError as error:
        raise _unknown(login, error) from None


def _at_its_time(
    login: Login, trust: ssl.SSLContext, clock: BucketClock
) -> tuple[http.client.HTTPConnection, Good | None]:
    """The same with a certificate that is good at the time that the bucket says, if that can be true."""
    if clock.known is None:
        # Asked without keys and without anything of a sample: whether this is the bucket is not known yet.
        connection, good = _secured(login, trust)
        with contextlib.closing(connection):
            connection.request("HEAD", "/")
            if good is None or not clock.learn(connection.getresponse().getheader("Date"), good):
                raise Distrusted(
                    f"the certificate of {login.host} is not good at this node's time, nor at one that it says itself "
                    f"and that can be true; {_EXPECTED}"
                )
    connection, good = _secured(login, trust)
    now = clock.known
    if good is None or now is None or not good.at(now):
        connection.close()
        raise Distrusted(f"the certificate of {login.host} is not good at the time that is known; {_EXPECTED}")
    return connection, good


def _secured(login: Login, trust: ssl.SSLContext) -> tuple[http.client.HTTPConnection, Good | None]:
    connection = _opened(http.client.HTTPSConnection(login.host, timeout=_SECONDS, context=trust))
    return connection, good_of(connection.sock)


def _opened(connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
    # One that breaks is opened anew here, where its certificate's time is judged, and never by `http.client` itself.
    connection.auto_open = 0
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    return connection


def _unknown(login: Login, error: ssl.SSLCertVerificationError) -> Distrusted:
    words = f"the certificate of {login.host} is not trusted ({error.verify_message})"
    return Distrusted(f"{words}; one of an authority that is known was expected")
