"""Header compression for HTTP/2 (RFC 7541): blocks read in full, and written without a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesmith_runtime.http2.huffman import HuffmanError, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TABLE_SIZE", "BlockError", "Decoder", "Field", "encode"]

Field = tuple[bytes, bytes]
"""A header's name and value."""

TABLE_SIZE: Final = 4096
"""Bytes of the table that a client fills: what the protocol begins with (RFC 9113 §6.5.2)."""
_OVERHEAD: Final = 32
"""What an entry counts beside its name and value (RFC 7541 §4.1)."""
_LARGEST_SHIFT: Final = 28
_MOST_CHANGES: Final = 2
"""Of the table's size in one block: to the smallest that it had, and to the last (RFC 7541 §4.2)."""
_SEVEN_BITS: Final = 0x7F

_STATIC_TEXT: Final = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


def _static() -> tuple[Field, ...]:
    fields = []
    for line in _STATIC_TEXT.strip().splitlines():
        name, _, value = line.partition(" ")
        fields.append((name.encode(), value.encode()))
    return tuple(fields)


_STATIC: Final = _static()
"""RFC 7541, appendix A; the first entry has index 1."""
_INDEXES: Final = {field: index for index, field in reversed(tuple(enumerate(_STATIC, 1)))}


class BlockError(ValueError):
    """A block is not to be read; the table is not what the client believes any more, and the connection has to end."""


class Decoder:
    """Reads one connection's blocks, in their order.

    Args:
        fields: The most fields of a block.
        size: The most bytes of a block's fields, counted as `_OVERHEAD` says.
    """

    def __init__(self, *, fields: int, size: int) -> None:
        self._fields = fields
        self._size = size
        self._table: list[Field] = []
        self._held = 0
        self._most = TABLE_SIZE

    def decode(self, block: bytes) -> list[Field]:
        """Read a whole block.

        Raises:
            BlockError: It is none, or longer than is taken.
        """
        try:
            return self._decode(block)
        except (IndexError, HuffmanError) as error:
            raise BlockError("a block of headers is none of HPACK's") from error

    def _decode(self, block: bytes) -> list[Field]:
        found: list[Field] = []
        at = size = changes = 0
        while at < len(block):
            first = block[at]
            if first & 0x80:  # indexed (§6.1)
                index, at = _integer(block, at, 7)
                field = self._entry(index)
            elif first & 0xE0 == 0x20:  # noqa: PLR2004 - the table's size (§6.3)
                changes += 1
                if found or changes > _MOST_CHANGES:
                    raise BlockError("a table changes its size behind a header, or more often than twice")
                most, at = _integer(block, at, 5)
                if most > TABLE_SIZE:
                    raise BlockError(f"a table is to have {most} bytes; expected at most {TABLE_SIZE}")
                self._most = most
                self._evict()
                continue
            else:  # a literal, kept or not (§6.2)
                index, at = _integer(block, at, 6 if first & 0x40 else 4)
                name = self._entry(index)[0] if index else b""
                if not index:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                field = name, value
                if first & 0x40:
                    self._add(field)
            found.append(field)
            size += len(field[0]) + len(field[1]) + _OVERHEAD
            if size > self._size or len(found) > self._fields:
                raise BlockError(f"headers are over {self._size} bytes or {self._fields} in number; expected less")
        return found

    def _entry(self, index: int) -> Field:
        if not index:
            raise BlockError("a header has index 0; expected one from 1")
        return _STATIC[index - 1] if index <= len(_STATIC) else self._table[index - len(_STATIC) - 1]

    def _add(self, field: Field) -> None:
        self._table.insert(0, field)
        self._held += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._held > self._most:
            name, value = self._table.pop()
            self._held -= len(name) + len(value) + _OVERHEAD


def encode(fields: Iterable[Field]) -> bytes:
    """Write a block that neither needs nor changes a table of the client's."""
    block = bytearray()
    for name, value in fields:
        if index := _INDEXES.get((name, value)):
            _put(block, 0x80, 7, index)
            continue
        _put(block, 0, 4, 0)
        for text in (name, value):
            _put(block, 0, 7, len(text))
            block += text
    return bytes(block)


def _put(block: bytearray, pattern: int, bits: int, value: int) -> None:
    most = (1 << bits) - 1
    if value < most:
        block.append(pattern | value)
        return
    block.append(pattern | most)
    value -= most
    while value > _SEVEN_BITS:
        block.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    block.append(value)


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Read a number whose first bits are the last ones of a byte (§5.1), and say where it ends."""
    most = (1 << bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for shift in range(0, _LARGEST_SHIFT + 1, 7):
        byte = block[at]
        at += 1
        value += (byte & _SEVEN_BITS) << shift
        if byte <= _SEVEN_BITS:
            return value, at
    raise BlockError("a number is over 32 bits")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    coded = block[at] & 0x80
    length, at = _integer(block, at, 7)
    end = at + length
    if end > len(block):
        raise BlockError("a block of headers ends within one")
    text = block[at:end]
    return (decode(text) if coded else text), end
