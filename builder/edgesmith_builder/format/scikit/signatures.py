"""How files begin that scikit-learn's users write."""

from __future__ import annotations

import re

_ZIP = b"PK\x03\x04"
"""skops writes a zip; whether one holds an estimator is seen from its table of contents."""

_PICKLE = re.compile(rb"\x80[\x02-\x05]")
"""The opcode PROTO and a version (CPython's `pickletools`)."""

_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""gzip, bzip2, xz, lzma and zlib, in which `joblib.dump` packs pickles. No ONNX file begins so: these would be fields
that its protocol buffer does not have."""


def recognises(head: bytes) -> bool:
    """Whether a file that begins so may hold an estimator."""
    return head.startswith(_ZIP) or is_pickle(head)


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so is a pickle, packed or not."""
    return bool(_PICKLE.match(head)) or head.startswith(_PACKED)
