"""The private half: reading it from a file, and signing with it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from edgesmith_builder.oci import Referrer
from edgesmith_builder.signatures.bundle import STATEMENT, Statement, bundle_of, to_be_signed
from edgesmith_builder.signatures.public import ALGORITHM, PublicKey

_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_SCRYPT_MEMORY = 256 * 2**20
"""Bytes that unlocking a key may take: cosign's own parameters take 64 MiB, the strongest that it reads 128."""
_EXPECTED = (
    "a private key in PEM was expected: ECDSA over P-256, plain or encrypted, or what cosign writes as cosign.key"
)


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A key that images are signed with."""

    key: ec.EllipticCurvePrivateKey

    @classmethod
    def from_pem(cls, text: str, password: str | None) -> PrivateKey:
        """Read one.

        Args:
            text: PEM: SEC 1, PKCS #8 (plain or encrypted), or what `cosign generate-key-pair` writes.
            password: What it is encrypted with; ignored where it is not.

        Raises:
            ValueError: in one sentence that holds nothing of either.
        """
        if "ENCRYPTED" in text and not password and not any(name in text for name in _COSIGN):
            raise ValueError("it is encrypted and no password is given; one was expected")
        try:
            der = _unlocked(text, password or "")
            if der is not None:
                key = serialization.load_der_private_key(der, None)
            else:
                secret = password.encode() if password and "ENCRYPTED" in text else None
                key = serialization.load_pem_private_key(text.encode(), secret)
        except CryptoError:
            raise ValueError("its password is another; the one that the key was made with was expected") from None
        except (ValueError, TypeError, KeyError, MemoryError, UnsupportedAlgorithm, RecursionError):
            raise ValueError(f"it cannot be read, or not with this password; {_EXPECTED}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"it is a key of another kind; {_EXPECTED}")  # noqa: TRY004 - a value from a file
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """Its other half."""
        return PublicKey(self.key.public_key())

    def sign(self, statement: Statement) -> Referrer:
        """A signed statement, to hang on its image; the same each time."""
        signature = self.key.sign(to_be_signed(STATEMENT, statement.to_bytes()), ALGORITHM)
        return bundle_of(statement, signature, self.public.hint)


def _unlocked(text: str, password: str) -> bytes | None:
    """The PKCS #8 form of a key as cosign encrypts it; None where the text is of another form.

    Format: secure-systems-lab/go-securesystemslib, package `encrypted`: scrypt, then NaCl's secret box.
    """
    name = next((name for name in _COSIGN if f"-----BEGIN {name}-----" in text), None)
    if name is None:
        return None
    body = text.partition(f"-----BEGIN {name}-----")[2].partition(f"-----END {name}-----")[0]
    data = json.loads(base64.b64decode(body))
    derivation, box = data["kdf"], data["cipher"]
    if (derivation["name"], box["name"]) != ("scrypt", "nacl/secretbox"):
        raise ValueError("another encryption")
    parameters = derivation["params"]
    secret = hashlib.scrypt(
        password.encode(),
        salt=base64.b64decode(derivation["salt"]),
        n=int(parameters["N"]),
        r=int(parameters["r"]),
        p=int(parameters["p"]),
        maxmem=_SCRYPT_MEMORY,
        dklen=SecretBox.KEY_SIZE,
    )
    return bytes(SecretBox(secret).decrypt(base64.b64decode(data["ciphertext"]), base64.b64decode(box["nonce"])))
