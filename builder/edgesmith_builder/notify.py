"""`notify`: send one CloudEvent, signed, until it is taken.

CloudEvents 1.0 over HTTP, structured mode: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.
Signed as Standard Webhooks say (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
HMAC-SHA256 of `id.timestamp.body`. The id is the event's, so that whoever gets it twice can tell.

Nothing of it but the address's host is logged, and redirections are not followed: a signature is for one place.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

from edgesmith_builder.oci.trust import authorities_in, distrust, trusting

log = logging.getLogger(__name__)

NOTIFY = "notify"
"""The first word of the command line."""
PATIENCE = 23 * 3600.0
"""Seconds in which an event is tried to be delivered; the Job's deadline is an hour later."""
CURE = "bucket.caBundle of the chart (--bucket-ca of the builder)"
"""Where a private authority of a receiver belongs."""
_TIMEOUT = 30.0
_LONGEST_PAUSE = 300.0
_AGAIN = {408, 425, 429}
_SUCCESS = range(200, 300)
_SERVER_ERROR = 500
_PREFIX = "whsec_"


class NotSent(Exception):  # noqa: N818 - reads as what happened
    """An event cannot be sent.

    Attributes:
        retry: Whether trying again later can help.
        after: Seconds that the receiver asks to wait.
    """

    def __init__(self, message: str, *, retry: bool, after: float = 0.0) -> None:
        super().__init__(message)
        self.retry = retry
        self.after = after


@dataclass(frozen=True, slots=True)
class Event:
    """What is sent, and to whom."""

    uri: str
    id: str
    body: bytes
    key: bytes | None
    """What it is signed with; None: it is not signed."""
    authorities: str | None = None
    """Certificates in PEM to trust besides the public ones."""

    @classmethod
    def read(cls, environment: Mapping[str, str], authorities: str | None = None) -> Event:
        """What the variables say.

        Args:
            environment: The variables.
            authorities: Certificates in PEM to trust besides the public ones.

        Raises:
            NotSent: Something is missing, or no event, or nothing that can be sent.
        """
        uri, text = environment.get("EDGESMITH_EVENT_URI", ""), environment.get("EDGESMITH_EVENT", "")
        if not _is_address(uri):
            raise NotSent("EDGESMITH_EVENT_URI is no address; https://HOST/PATH in ASCII was expected", retry=False)
        try:
            body, found = text.encode(), json.loads(text)
        except ValueError:
            body, found = b"", None
        name = found.get("id") if isinstance(found, dict) and found.get("specversion") == "1.0" else None
        if not isinstance(name, str) or not _is_visible(name):  # it is a header, too
            raise NotSent("EDGESMITH_EVENT is no CloudEvent 1.0; one in JSON was expected", retry=False)
        return cls(uri, name, body, _key(environment.get("EDGESMITH_EVENT_SECRET")), authorities)

    def headers(self, now: float) -> dict[str, str]:
        """Its headers when it is sent at a time, in seconds since 1970."""
        found = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "edgesmith",
            "webhook-id": self.id,
            "webhook-timestamp": str(int(now)),
        }
        if self.key is not None:
            signed = b".".join((self.id.encode(), str(int(now)).encode(), self.body))
            digest = hmac.new(self.key, signed, hashlib.sha256).digest()
            found["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        return found

    def send(self, now: float) -> None:
        """Send it once.

        Raises:
            NotSent: It was not taken.
        """
        place = urlsplit(self.uri)
        host = place.hostname or ""
        try:
            connection: http.client.HTTPConnection
            if place.scheme == "https":
                context = trusting(self.authorities)
                connection = http.client.HTTPSConnection(host, place.port, timeout=_TIMEOUT, context=context)
            else:
                connection = http.client.HTTPConnection(host, place.port, timeout=_TIMEOUT)
            try:
                target = (place.path or "/") + (f"?{place.query}" if place.query else "")
                connection.request("POST", target, self.body, self.headers(now))
                answer = connection.getresponse()
                status, after = answer.status, answer.getheader("Retry-After") or ""
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            words = distrust(error, CURE) or f"does not answer ({type(error).__name__})"
            raise NotSent(f"{host} {words}", retry=True) from error
        if status in _SUCCESS:
            return
        seconds = float(after) if after.isdecimal() else 0.0
        again = status in _AGAIN or status >= _SERVER_ERROR
        raise NotSent(f"{host} answers {status}; 200 to 299 was expected", retry=again, after=seconds)


def deliver(
    event: Event,
    *,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Send an event until it is taken; how many tries that took.

    Raises:
        NotSent: It is refused for good, or nobody took it in time.
    """
    began, tries = clock(), 0
    while True:
        tries += 1
        try:
            event.send(clock())
        except NotSent as error:
            # Half of it by chance: those that were refused together do not come back together.
            wait = max(error.after, min(_LONGEST_PAUSE, 2.0**tries) * random.uniform(0.5, 1))  # noqa: S311 - no secret
            if not error.retry or clock() - began + wait > patience:
                raise
            log.warning("%s; it is sent again in %d s", error, wait)
            pause(wait)
        else:
            return tries


def notify(environment: Mapping[str, str] = os.environ, trusted: Path | None = None) -> int:
    """Run the command: 0 sent, 1 no retry can help, 2 one may.

    Args:
        environment: The variables that say what is sent, and to whom.
        trusted: A file with certificates in PEM to trust besides the public ones.
    """
    try:
        event = Event.read(environment, _authorities(trusted))
        tries = deliver(event)
    except NotSent as error:
        log.error("the event was not sent: %s", error)  # noqa: TRY400 - the sentence says all
        return 2 if error.retry else 1
    log.info("event %s was taken at try %d by %s", event.id, tries, urlsplit(event.uri).hostname)
    return 0


def main(words: Sequence[str]) -> int:
    """Run the command of this process.

    Args:
        words: What was typed after `notify`.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog=f"edgesmith_builder {NOTIFY}", description="Send one CloudEvent.")
    parser.add_argument("--bucket-ca", type=Path, help="authorities to trust besides the public ones, in PEM")
    return notify(trusted=parser.parse_args(words).bucket_ca)


def _authorities(path: Path | None) -> str | None:
    try:
        return authorities_in("--bucket-ca", path)
    except ValueError as error:
        raise NotSent(str(error), retry=False) from error


def _is_address(uri: str) -> bool:
    """Whether this can be asked at all: what cannot would be tried until patience ends, or end the program."""
    try:
        place = urlsplit(uri)
        host, port = place.hostname or "", place.port
        host.encode("idna")  # as a socket does: no part of a name is empty or too long
        if "[" in place.netloc:
            IPv6Address(host)
    except ValueError:
        return False
    return place.scheme in ("http", "https") and bool(host) and port != 0 and _is_visible(uri)


def _is_visible(text: str) -> bool:
    """Whether a text has a character, and none that is no ASCII, a blank or unprintable."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _key(secret: str | None) -> bytes | None:
    if secret is None:
        return None
    text = secret.strip()
    coded = text.startswith(_PREFIX)
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if coded else text.encode()
    except ValueError:
        raise NotSent("EDGESMITH_EVENT_SECRET is no whsec_ and base64, which was expected", retry=False) from None
    if not key:  # anybody can sign with it
        raise NotSent("EDGESMITH_EVENT_SECRET is empty; whsec_ and base64, or any text, was expected", retry=False)
    return key
