"""What hangs on an image: the bill and the provenance as they are, and, where there is a key, the same signed."""

from __future__ import annotations

import json

from edgesmith_builder.evidence.materials import Materials
from edgesmith_builder.evidence.sbom import CYCLONEDX, bill_of_materials
from edgesmith_builder.evidence.slsa import provenance
from edgesmith_builder.oci import BytesBlob, Referrer
from edgesmith_builder.signatures import SIGNED, Statement
from edgesmith_builder.signatures.bundle import STATEMENT
from edgesmith_builder.signatures.private import PrivateKey

CYCLONEDX_PREDICATE = "https://cyclonedx.org/bom"
"""The predicate type of a bill of materials."""


def evidence_for(materials: Materials, key: PrivateKey | None) -> tuple[Referrer, ...]:
    """Everything to hang on an image; the same for the same build and key.

    Args:
        materials: The build.
        key: Whose signature goes on it; None for none.
    """
    bill, made = bill_of_materials(materials), provenance(materials)
    plain = (
        Referrer(CYCLONEDX, BytesBlob(bill, CYCLONEDX)),
        Referrer(STATEMENT, BytesBlob(made.to_bytes(), STATEMENT), {"in-toto.io/predicate-type": made.predicate_type}),
    )
    if key is None:
        return plain
    digest = materials.image.digest
    said = (Statement(digest, SIGNED), Statement(digest, CYCLONEDX_PREDICATE, json.loads(bill)), made)
    return (*plain, *(key.sign(statement) for statement in said))
