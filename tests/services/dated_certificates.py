"""Certificates that are good from one time to another, which openssl's command makes of today alone."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Span = tuple[float, float]
"""From when to when, in seconds since 1970."""


@dataclass(frozen=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def authority(good: Span, by: Holder | None = None) -> Holder:
    """One that may sign others; a root unless another signs it."""
    return _signed("root" if by is None else "between", good, by, x509.BasicConstraints(ca=True, path_length=None))


def server(folder: Path, good: Span, by: Holder, *between: Holder) -> tuple[Path, Path]:
    """The certificate of a server at 127.0.0.1, with those between it and its root, and its key: two files."""
    made = _signed("store", good, by, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
    certificate, key = folder / "store.crt", folder / "store.key"
    certificate.write_bytes(made.pem + b"".join(one.pem for one in between))
    key.write_bytes(
        made.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, key


def _signed(name: str, good: Span, by: Holder | None, extension: x509.ExtensionType) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = subject if by is None else by.certificate.subject
    signer = key if by is None else by.key
    since, until = (datetime.fromtimestamp(one, UTC) for one in good)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), since, until)
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return Holder(builder.sign(signer, hashes.SHA256()), key)
