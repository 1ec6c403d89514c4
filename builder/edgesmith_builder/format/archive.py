"""Archives: whatever is inside, none of them is unpacked."""

from __future__ import annotations

_SIGNATURES = (
    ("zip", 0, b"PK\x03\x04"),
    ("zip", 0, b"PK\x05\x06"),
    ("gzip", 0, b"\x1f\x8b\x08"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("bzip2", 0, b"BZh"),
    ("tar", 257, b"ustar"),
)
"""Name, offset and bytes, as the formats' specifications have them (APPNOTE 4.3, RFC 1952, RFC 8878, POSIX)."""


def archive_of(head: bytes) -> str | None:
    """What kind of archive a file that begins so is; None for any other file."""
    return next((name for name, at, sign in _SIGNATURES if head[at : at + len(sign)] == sign), None)
