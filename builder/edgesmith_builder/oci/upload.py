"""One blob's way into a registry: in chunks, going on where the connection broke.

Protocol: the distribution specification 1.1, "Pushing a blob in chunks": POST opens a session, each PATCH carries
`Content-Range: FIRST-LAST`, GET on the session says by `Range: 0-LAST` how far it got, PUT with the digest closes it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import aclosing
from typing import Final

import httpx

from edgesmith_builder.oci.blobs import Blob, in_chunks
from edgesmith_builder.oci.errors import RegistryRefused, RegistryUnreachable
from edgesmith_builder.oci.reference import Repository
from edgesmith_builder.oci.transport import Answer, Transport

log = logging.getLogger(__name__)

CHUNK: Final = 4 * 1024 * 1024
"""Bytes in one PATCH: what is held in memory, and at most what is sent twice after a break."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class SessionLost(Exception):  # noqa: N818 - an event of the protocol; never leaves this module
    """The registry no longer knows the upload, or what it holds of it is of no use."""


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
            await asyncio.sleep(self._transport.backoff.delay(failed - 1))

    async def _try(self, *, ask: bool) -> RegistryUnreachable | None:
        """Go as far as it goes, from the start or from what the registry has; None at the end."""
        try:
            if self._location is None:
                await self._open()
            elif ask:
                await self._ask()
            await self._send()
            await self._close()
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
        """Learn from the registry how far it got."""
        answer = await self._transport.call(
            "GET", self._url(), self._repository, expect={204, 404, 405, 416}, what=self._what
        )
        if answer.status != httpx.codes.NO_CONTENT:
            raise SessionLost(f"status {answer.status}")
        if "Location" in answer.headers:
            self._location = self._transport.location(self._repository, answer)
        self._offset = self._received(answer)
        self._resumed = self._offset > 0

    def _received(self, answer: Answer) -> int:
        """Bytes that the registry has. `0-0` means none or one; taken as none, a wrong guess is refused by it."""
        found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        last = int(found[1]) if found else 0
        size = self._blob.descriptor.size
        if last >= size:
            raise SessionLost(f"{last + 1} bytes are there, {size} were to be sent")
        return last + 1 if last else 0

    async def _send(self) -> None:
        async with aclosing(in_chunks(self._blob.stream(self._offset), self._chunk)) as chunks:
            async for chunk in chunks:
                answer = await self._transport.call(
                    "PATCH",
                    self._url(),
                    self._repository,
                    expect={202, 404, 416},
                    what=self._what,
                    headers={
                        "Content-Type": "application/octet-stream",
                        "Content-Range": f"{self._offset}-{self._offset + len(chunk) - 1}",
                    },
                    content=chunk,
                    repeat=False,
                )
                self._check(answer, {202})
                self._location = self._transport.location(self._repository, answer)
                self._offset += len(chunk)

    async def _close(self) -> None:
        digest = self._blob.descriptor.digest
        url = self._url().copy_merge_params({"digest": digest})
        # A digest that is refused after a break can be the break's doing; the next time is without one.
        bad = {400} if self._resumed else set()
        answer = await self._transport.call(
            "PUT", url, self._repository, expect={201, 204, 404, 416, *bad}, what=self._what, repeat=False
        )
        self._check(answer, {201, 204})
        declared = answer.headers.get("Docker-Content-Digest", digest)
        if declared != digest:
            raise RegistryRefused(
                f"{self._repository} stored {declared} when {self._what}; the same digest was expected"
            )

    def _check(self, answer: Answer, good: set[int]) -> None:
        if answer.status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise OutOfStep(f"at byte {self._offset}")
        if answer.status not in good:
            raise SessionLost(f"status {answer.status} at byte {self._offset}")

    async def _arrived(self) -> bool:
        """Whether the blob is there although the last answer was lost."""
        if self._offset < self._blob.descriptor.size:
            return False
        url = self._transport.address(self._repository, f"blobs/{self._blob.descriptor.digest}")
        try:
            answer = await self._transport.call(
                "HEAD", url, self._repository, expect={200, 404}, what=self._what, repeat=False
            )
        except RegistryUnreachable:
            return False
        return answer.status == httpx.codes.OK

    def _url(self) -> httpx.URL:
        if self._location is None:
            raise SessionLost("no session")
        return self._location
