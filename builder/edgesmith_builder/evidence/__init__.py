"""What goes with every image: what is in it (a bill of materials), and what it was made from and how (provenance)."""

from edgesmith_builder.evidence.attach import evidence_for
from edgesmith_builder.evidence.materials import Material, Materials, artifacts_of, files_of, materials_of
from edgesmith_builder.evidence.sbom import bill_of_materials
from edgesmith_builder.evidence.slsa import SLSA, Provenance, provenance, read_provenance

__all__ = [
    "SLSA",
    "Material",
    "Materials",
    "Provenance",
    "artifacts_of",
    "bill_of_materials",
    "evidence_for",
    "files_of",
    "materials_of",
    "provenance",
    "read_provenance",
]
