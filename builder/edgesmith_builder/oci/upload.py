"""One blob's way into a registry: whole in one request, and where that breaks, on from there if the registry can.

Protocol: the distribution specification 1.1. "POST then PUT": POST opens a session, PUT with the digest brings all
bytes. Every registry takes that; chunks ("Pushing a blob in chunks") some do not take at all (Google's Artifact
Registry), some take wrongly (Amazon's ECR) and some up to 4 MiB only (GitHub's). So chunks are sent only after a
break (GET on the session says by `Range: 0-LAST` how far it got; from the start where nothing was kept, since what
stands before a registry may pass on whole requests only) or where one request is too large (413), and only as long as
the `Range` of each answer says that the chunk arrived.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NoReturn

import httpx

from edgesmith_builder.oci.blobs import Blob, in_chunks
from edgesmith_builder.oci.errors import RegistryError, RegistryForbidden, RegistryRefused, RegistryUnreachable
from edgesmith_builder.oci.reference import Repository
from edgesmith_builder.oci.transport import Answer, Transport

log = logging.getLogger(__name__)

CHUNK: Final = 10 * 1024 * 1024
"""Bytes in one PATCH: what is held in memory. Object stores behind registries refuse parts under 5 MiB."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_KIND = {"Content-Type": "application/octet-stream"}


class SessionLost(Exception):  # noqa: N818 - an event of the protocol; never leaves this module
    """The registry no longer knows the upload, or what it holds of it is of no use."""


class NoChunks(Exception):  # noqa: N818 - an event of the protocol; never leaves this module
    """The registry does not take chunks; the blob is to go in one request."""


class OutOfStep(Exception):  # noqa: N818 - an event of the protocol; never leaves this module
    """The registry has more or less of the upload than we think.

    It happens after a break: the registry may still be writing what it had received when we asked how far it was.
    """


class Upload:
    """One blob on its way into one repository."""

    def __init__(self, transport: Transport, repository: Repository, blob: Blob, chunk: int = CHUNK) -> None:
        self._transport = transport
        self._repository = repository
        self._blob = blob
        self._chunk = chunk
        self._location: httpx.URL | None = None
        self._offset = 0
        self._resumed = False
        self._sent = False
        self._refused_at: int | None = None
        self._whole, self._chunks = True, True
        """Whether it may go in one request, and whether in chunks: until the registry shows otherwise."""
        self._piecewise = False
        """Whether it goes in chunks from its start, though it may go in one request."""
        self._what = f"uploading {blob.descriptor.digest}"

    async def run(self, opened: Answer | None = None) -> None:
        """Send it all. Gives up after the transport's number of attempts in a row that moved nothing.

        Args:
            opened: The answer to a POST that opened the session already, as a refused mount does.

        Raises:
            RegistryError: of the fitting kind.
        """
        if opened is not None:
            self._begin(opened)
        farthest, failed = 0, 0
        while True:
            failure = await self._try(ask=failed > 0)
            if failure is None or await self._arrived():
                return
            failed = 1 if self._offset > farthest else failed + 1
            farthest = max(farthest, self._offset)
            if failed >= self._transport.backoff.attempts:
                raise failure
            reached = self._offset if self._location is not None else 0
            log.info("%s; going on from byte %d of %d", failure, reached, self._blob.descriptor.size)
            await asyncio.sleep(self._transport.backoff.delay(failed - 1, failure.asked))

    async def _try(self, *, ask: bool) -> RegistryUnreachable | None:
        """Go as far as it goes, from the start or from what the registry has; None at the end."""
        try:
            if self._location is not None and ask:
                await self._ask()
            if self._location is None:
                await self._open()
            if self._offset == 0 and self._whole and not self._piecewise:
                await self._put(0)
            else:
                await self._patch()
                await self._put(self._offset)
        except NoChunks as error:
            log.info("%s takes no chunks when %s (%s)", self._repository, self._what, error)
            self._location = None
            return await self._try(ask=False)
        except OutOfStep as error:
            return RegistryUnreachable(f"{self._repository} is out of step when {self._what} ({error})")
        except SessionLost as error:
            self._location = None
            return RegistryUnreachable(f"{self._repository} lost the upload when {self._what} ({error})")
        except RegistryUnreachable as error:
            return error
        return None

    def _begin(self, answer: Answer) -> None:
        self._location = self._transport.location(self._repository, answer)
        self._offset = 0
        self._resumed = False
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        if least.isdigit():
            self._chunk = max(self._chunk, int(least))

    async def _open(self) -> None:
        url = self._transport.address(self._repository, "blobs/uploads/")
        self._begin(await self._transport.call("POST", url, self._repository, expect={202}, what=self._what))

    async def _ask(self) -> None:
        """Learn from the registry how far it got; where it does not say, or has nothing, the session is given up."""
        if not self._chunks:
            self._location = None
            return
        received, answer = 0, None
        try:
            answer = await self._transport.call(
                "GET", self._url(), self._repository, expect={200, 204}, what=self._what
            )
            received = self._received(answer)
        except RegistryUnreachable:
            self._location = None
            raise
        except RegistryError as error:
            log.info("%s", error)
        if answer is None or received == 0:
            self._location = None
            self._piecewise = self._blob.descriptor.size > self._chunk
            return
        if "Location" in answer.headers:
            self._location = self._transport.location(self._repository, answer)
        self._offset, self._resumed = received, True

    def _received(self, answer: Answer) -> int:
        """Bytes that the registry has. `0-0` means none or one, and is taken as none."""
        found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        last = int(found[1]) if found else 0
        size = self._blob.descriptor.size
        if last >= size:
            raise SessionLost(f"{last + 1} bytes are there, {size} were to be sent")
        return last + 1 if last else 0

    async def _patch(self) -> None:
        """Send what is missing in chunks."""
        if self._offset == self._blob.descriptor.size:
            return
        async with aclosing(in_chunks(self._blob.stream(self._offset), self._chunk)) as chunks:
            async for chunk in chunks:
                await self._patch_one(chunk)

    async def _patch_one(self, chunk: bytes) -> None:
        last = self._offset + len(chunk) - 1
        try:
            answer = await self._transport.call(
                "PATCH",
                self._url(),
                self._repository,
                expect={201, 202, 204, 404, 416},
                what=self._what,
                headers={**_KIND, "Content-Range": f"{self._offset}-{last}"},
                content=chunk,
                repeat=False,
            )
        except (RegistryForbidden, RegistryRefused) as error:
            if not self._whole:
                raise
            self._give_up_chunks(str(error))
        if answer.status in (404, 416) and self._refused_at == self._offset:
            self._give_up_chunks(f"it refuses the one at byte {self._offset} time and again")
        self._check(answer, {201, 202, 204})
        found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        if found is None or int(found[1]) != last:
            self._give_up_chunks(f"it answered {answer.status} with the range {answer.headers.get('Range')!r}")
        self._location = self._transport.location(self._repository, answer)
        self._offset = last + 1

    def _give_up_chunks(self, why: str) -> NoReturn:
        """Never send a chunk of this blob again: what the registry did with one cannot be known."""
        self._chunks = self._piecewise = False
        if not self._whole:
            raise RegistryRefused(
                f"{self._repository} takes neither all of a blob in one request nor chunks when {self._what} ({why}); "
                "a registry that takes one of them was expected"
            )
        raise NoChunks(why)

    async def _put(self, offset: int) -> None:
        """Close the session with the bytes from `offset` on: with all of them, or with none after chunks."""
        descriptor = self._blob.descriptor
        url = self._url().copy_merge_params({"digest": descriptor.digest})
        whole = offset == 0
        # A digest that is refused after a break can be the break's doing; the next time is without one.
        bad = {400} if self._resumed else set()
        self._sent = not whole
        answer = await self._transport.call(
            "PUT",
            url,
            self._repository,
            expect={201, 204, 404, 413, 416, *bad},
            what=self._what,
            headers={**_KIND, "Content-Length": str(descriptor.size)} if whole else {},
            content=self._all if whole else None,
            repeat=False,
        )
        if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            self._whole = False
            if not self._chunks:
                self._give_up_chunks("413")
            raise SessionLost(f"a request of {descriptor.size} bytes is too large for it")
        self._check(answer, {201, 204})
        declared = answer.headers.get("Docker-Content-Digest", descriptor.digest)
        if declared != descriptor.digest:
            raise RegistryRefused(
                f"{self._repository} stored {declared} when {self._what}; the same digest was expected"
            )

    async def _all(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._blob.stream(0)) as pieces:
            async for piece in pieces:
                yield piece
        self._sent = True

    def _check(self, answer: Answer, good: set[int]) -> None:
        if answer.status not in good:
            self._refused_at = self._offset
        if answer.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise OutOfStep(f"at byte {self._offset}")
        if answer.status not in good:
            raise SessionLost(f"status {answer.status} at byte {self._offset}")

    async def _arrived(self) -> bool:
        """Whether the blob is there although the last answer was lost."""
        if not self._sent:
            return False
        try:
            return await holds(self._transport, self._repository, self._blob.descriptor.digest, repeat=False)
        except RegistryUnreachable:
            return False

    def _url(self) -> httpx.URL:
        if self._location is None:
            raise SessionLost("no session")
        return self._location


async def holds(transport: Transport, repository: Repository, digest: str, *, repeat: bool = True) -> bool:
    """Whether a repository holds a blob.

    A registry whose blobs lie elsewhere (S3, GCS, Azure, a CDN) answers with a redirect to where one lies. That it lies
    there it has looked up itself; the store is not asked, since it may answer to GET alone, or not to us.

    Raises:
        RegistryError: of the fitting kind.
    """
    answer = await transport.call(
        "HEAD",
        transport.address(repository, f"blobs/{digest}"),
        repository,
        expect={200, 301, 302, 303, 307, 308, 404},
        what=f"looking for {digest}",
        repeat=repeat,
    )
    if answer.status in (httpx.codes.OK, httpx.codes.NOT_FOUND):
        return answer.status == httpx.codes.OK
    return "Location" in answer.headers
