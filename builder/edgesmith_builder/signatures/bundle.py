"""The forms: a statement about an image, an envelope around it, and the bundle that a registry holds.

Formats: in-toto Statement v1 (in-toto/attestation, `spec/v1/statement.md`), DSSE v1 (secure-systems-lab/dsse,
`envelope.md` and `protocol.md`), Sigstore bundle v0.3 (sigstore/protobuf-specs, `sigstore_bundle.proto`), and how
cosign hangs one on an image (sigstore/cosign v3, `specs/BUNDLE_SPEC.md`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgesmith_builder.oci import BytesBlob, Referrer
from edgesmith_builder.oci.content import canonical

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""Both the bundle's media type and the artifact type of the manifest that holds it."""

STATEMENT = "application/vnd.in-toto+json"

SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of a statement that says nothing but that the image is signed."""

PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
_CONTENT = "dev.sigstore.bundle.content"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said about an image."""

    digest: str
    """`sha256:HEX` of the image's manifest."""
    predicate_type: str
    """A URI that says what the predicate is."""
    predicate: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    """What the image is called, for readers."""

    def to_bytes(self) -> bytes:
        """The statement as JSON, canonical."""
        algorithm, _, digest = self.digest.partition(":")
        subject = {"digest": {algorithm: digest}, **({"name": self.name} if self.name else {})}
        return canonical(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [subject],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """Bytes and their signature."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]


def to_be_signed(payload_type: str, payload: bytes) -> bytes:
    """What the signature of an envelope is over: its type too, so that it cannot be taken for something else."""
    return b"DSSEv1 %d %b %d %b" % (len(payload_type.encode()), payload_type.encode(), len(payload), payload)


def bundle_of(statement: Statement, signature: bytes, hint: str) -> Referrer:
    """A signed statement, to hang on its image.

    Args:
        statement: What is said.
        signature: Over `to_be_signed(STATEMENT, statement.to_bytes())`.
        hint: Which key made it.
    """
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "dsseEnvelope": {
            "payload": _text(statement.to_bytes()),
            "payloadType": STATEMENT,
            "signatures": [{"sig": _text(signature)}],
        },
    }
    annotations = {_CONTENT: "dsse-envelope", PREDICATE_TYPE: statement.predicate_type}
    return Referrer(BUNDLE, BytesBlob(canonical(bundle), BUNDLE), annotations)


def envelope_in(raw: bytes) -> Envelope:
    """The envelope of a bundle.

    Raises:
        ValueError: where it is no bundle, or one of something else.
    """
    try:
        envelope = json.loads(raw)["dsseEnvelope"]
        return Envelope(
            str(envelope["payloadType"]),
            base64.b64decode(envelope["payload"], validate=True),
            tuple(base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"no bundle with an envelope ({type(error).__name__})") from error


def predicate_in(payload: bytes, digest: str, kind: str) -> Mapping[str, Any] | None:
    """What a statement, whose signature was checked, says of an image; None where it is no such statement about it.

    Args:
        payload: The statement.
        digest: `sha256:HEX` of the image's manifest.
        kind: The predicate type that it must have.
    """
    algorithm, _, wanted = digest.partition(":")
    try:
        statement = json.loads(payload)
        subjects = [subject["digest"].get(algorithm) for subject in statement["subject"]]
        predicate = statement.get("predicate") or {}
        if statement["predicateType"] == kind and wanted in subjects and isinstance(predicate, dict):
            return predicate
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        pass
    return None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
