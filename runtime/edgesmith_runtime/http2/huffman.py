"""HPACK's Huffman code (RFC 7541, appendix B).

The code is canonical: codes of one length follow each other in the order of their symbols, so the lengths say it all.
"""

from __future__ import annotations

from functools import cache
from typing import Final

__all__ = ["HuffmanError", "decode"]

_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606"
    "060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605060506060605070706060605"
    "06070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615141616171715"
    "1716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)
"""Bits of the code of each byte; the end of a string, a 257th symbol, has 30, all ones."""
_LONGEST_PADDING: Final = 7
_FAILED: Final = -1

_State = tuple[int, bytes]
"""Where four bits lead, and the bytes that they complete."""


class HuffmanError(ValueError):
    """The bytes are not of this code."""


def decode(data: bytes | memoryview) -> bytes:
    """Undo the code.

    Args:
        data: A whole string.

    Raises:
        HuffmanError: A code is the end's, or what follows the last is not a part of it.
    """
    steps, ends = _table()
    found: list[bytes] = []
    state = 0
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            state, done = steps[state << 4 | bits]
            if done:
                found.append(done)
            elif state == _FAILED:
                raise HuffmanError("the end of a string stands within one")
    if not ends[state]:
        raise HuffmanError("a string does not end with ones")
    return b"".join(found)


@cache
def _table() -> tuple[list[_State], list[bool]]:
    """The steps of all states, 16 each, and whether a string may end in them."""
    children: list[list[int]] = [[0, 0]]
    leaves: dict[int, int] = {}
    code, length = 0, 0
    for symbol in sorted(range(257), key=lambda symbol: (_bits(symbol), symbol)):
        code <<= _bits(symbol) - length
        length = _bits(symbol)
        node = 0
        for place in reversed(range(length)):
            bit = code >> place & 1
            if not children[node][bit]:
                children[node][bit] = len(children)
                children.append([0, 0])
            node = children[node][bit]
        leaves[node] = symbol
        code += 1
    inner = [node for node in range(len(children)) if node not in leaves]
    numbers = {node: number for number, node in enumerate(inner)}
    steps = [_step(children, leaves, numbers, node, bits) for node in inner for bits in range(16)]
    ends, node = [False] * len(inner), 0
    for _ in range(_LONGEST_PADDING + 1):
        ends[numbers[node]] = True
        node = children[node][1]
    return steps, ends


def _bits(symbol: int) -> int:
    return _LENGTHS[symbol] if symbol < len(_LENGTHS) else 30


def _step(children: list[list[int]], leaves: dict[int, int], numbers: dict[int, int], node: int, bits: int) -> _State:
    done = b""
    for place in (3, 2, 1, 0):
        node = children[node][bits >> place & 1]
        if node in leaves:
            if leaves[node] >= len(_LENGTHS):
                return _FAILED, b""
            done += bytes([leaves[node]])
            node = 0
    return numbers[node], done
