"""A key that somebody gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesmith_builder.signatures.public import PublicKey


def public_key(text: str) -> PublicKey:
    """Read a public key in PEM; what reads it is imported only here.

    Raises:
        ValueError: in one sentence, where it is none or of another kind.
    """
    from edgesmith_builder.signatures.public import PublicKey  # noqa: PLC0415 - cryptography takes nine megabytes

    return PublicKey.from_pem(text)
