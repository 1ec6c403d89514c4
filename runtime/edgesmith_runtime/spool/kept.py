"""An object in the spool, and the name of its file, which says what it is worth: a listing is all there is.

A name sorts as objects are dropped when room is wanted: `GROUP VALUE-ORDER-SHA256.npz`. Random samples (group 1) go
last, and which of them go does not depend on what they show: what is left of them is still a fair share. Within a group
the less valuable go first, and of equals the older.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["MOST_VALUE", "Kept", "is_name", "named", "parts", "worth"]

MOST_VALUE: Final = 9999
_BLOCK: Final = 4096
"""What a file takes of a disk is a multiple of it."""
_NAME: Final = re.compile(r"([01])([0-9]{4})-([0-9]{12})-([0-9a-f]{64})\.npz")


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """An object in the spool; the lesser of two is dropped first.

    Attributes:
        name: Its file's name.
        size: Its bytes.
    """

    name: str
    size: int

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes, in hex."""
        found = _NAME.fullmatch(self.name)
        return found[4] if found else ""

    @property
    def room(self) -> int:
        """What it takes of the disk, in bytes."""
        return -(-self.size // _BLOCK) * _BLOCK


def is_name(text: str) -> bool:
    """Whether a file's name is that of an object."""
    return _NAME.fullmatch(text) is not None


def worth(value: int, *, random: bool) -> str:
    """What the name begins with of an object that is worth so much.

    Args:
        value: What it is worth, from 0 to `MOST_VALUE`.
        random: Whether it is a random sample.
    """
    return f"{int(random)}{min(MOST_VALUE, max(0, value)):04d}"


def named(group: int, value: int, order: int, digest: bytes) -> str:
    """The name of these parts."""
    return f"{worth(value, random=bool(group))}-{order:012d}-{digest.hex()}.npz"


def parts(name: str) -> tuple[int, int, int, bytes]:
    """The group, value, order and digest that an object's name says."""
    return int(name[0]), int(name[1:5]), int(name[6:18]), bytes.fromhex(name[19:83])
