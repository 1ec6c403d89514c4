"""Signatures of images as cosign reads and writes them: ECDSA over P-256, with a key of one's own.

What is signed is an in-toto statement about an image, in a DSSE envelope, in a Sigstore bundle that hangs on the image.
Making one is `edgesmith_builder.signatures.private`, which only the builder needs; a key is
`edgesmith_builder.signatures.public`. Both import `cryptography`, nine megabytes, so who has no key does without.
"""

from edgesmith_builder.signatures.bundle import BUNDLE, SIGNED, Statement
from edgesmith_builder.signatures.given import public_key
from edgesmith_builder.signatures.lookup import Finding, attested, look_for

__all__ = ["BUNDLE", "SIGNED", "Finding", "Statement", "attested", "look_for", "public_key"]
