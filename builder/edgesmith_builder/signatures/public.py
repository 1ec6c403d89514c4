"""The public half: reading it, and holding a signature against it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ALGORITHM = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
"""With a nonce made of the key and the message (RFC 6979): the same statement has the same signature each time."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that images are held against."""

    key: ec.EllipticCurvePublicKey

    @classmethod
    def from_pem(cls, text: str) -> PublicKey:
        """Read one: what `cosign generate-key-pair` writes as cosign.pub.

        Raises:
            ValueError: in one sentence, where it is none or of another kind.
        """
        expected = "a public key in PEM, ECDSA over P-256, was expected"
        try:
            key = serialization.load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(f"it holds no key that can be read; {expected}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"it holds a key of another kind; {expected}")  # noqa: TRY004 - a value from a setting
        return cls(key)

    @property
    def hint(self) -> str:
        """What tells it from others: the hash of its DER form, in base64."""
        der = self.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def made(self, signature: bytes, data: bytes) -> bool:
        """Whether its private half made a signature of some bytes."""
        try:
            self.key.verify(signature, data, ALGORITHM)
        except InvalidSignature:
            return False
        return True
