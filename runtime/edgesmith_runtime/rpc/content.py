"""What a message holds, which is read where there is time for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.http.encodings import ENCODINGS, inflate

if TYPE_CHECKING:
    from edgesmith_runtime.rpc.message import Message

__all__ = ["Content", "content_of"]


@dataclass(frozen=True, slots=True)
class Content:
    """A message as it came.

    Attributes:
        data: Its bytes.
        encoding: How they are compressed; None: they are not.
        limit: The most bytes that it may have once inflated.
    """

    data: memoryview
    encoding: str | None
    limit: int

    @property
    def size(self) -> int | None:
        """How many bytes it has; None before it is inflated, since that may take longer than its size tells."""
        return len(self.data) if self.encoding is None else None

    def read(self) -> memoryview:
        """Give the message; of a compressed one no budget knows the bytes, so whoever asks goes on with them at once.

        Raises:
            RequestError: It cannot be inflated.
        """
        return self.data if self.encoding is None else inflate(self.data, self.encoding, self.limit)


def content_of(message: Message, encoding: str, limit: int) -> Content:
    """Give what a message holds.

    Args:
        message: The message.
        encoding: How its call says that messages may be compressed.
        limit: The most bytes that it may have once inflated.

    Raises:
        BadRequest: It is compressed, and its call does not say how.
    """
    if message.compressed and encoding not in ENCODINGS:
        raise BadRequest("a message is compressed and grpc-encoding does not say how; expected gzip or deflate")
    return Content(message.data, encoding if message.compressed else None, limit)
