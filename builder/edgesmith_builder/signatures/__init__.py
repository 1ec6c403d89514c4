"""Signatures of images as cosign reads and writes them: ECDSA over P-256, with a key of one's own.

What is signed is an in-toto statement about an image, in a DSSE envelope, in a Sigstore bundle that hangs on the image.
Making one is `edgesmith_builder.signatures.private`, which only the builder needs.
"""

from edgesmith_builder.signatures.bundle import BUNDLE, SIGNED, Statement
from edgesmith_builder.signatures.lookup import Finding, attested, look_for
from edgesmith_builder.signatures.public import PublicKey

__all__ = ["BUNDLE", "SIGNED", "Finding", "PublicKey", "Statement", "attested", "look_for"]
