"""The bill of materials: the image, the model in it with what it comes from, the runtime under it, and what made it.

Format: CycloneDX 1.6 (ECMA-424), JSON. It holds no time and nothing random, so the same build has the same bill.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from edgesmith_builder.evidence.materials import Material, Materials
from edgesmith_builder.oci.content import canonical
from edgesmith_builder.pack import PACKAGES_LABEL

CYCLONEDX = "application/vnd.cyclonedx+json"


_PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})==([A-Za-z0-9][A-Za-z0-9._+!-]{0,99})")
_MOST_PACKAGES = 500
"""Packages that are taken over from the label, which bounds the bill."""
_NAMESPACE = uuid.UUID("5a5f5f0e-5c2c-5d0b-9d3c-2f6f1f2f6a11")
"""Of serial numbers: the bill of an image has the same one each time."""

_IMAGE, _MODEL, _BASE = "image", "model", "runtime"
Object = dict[str, Any]


def bill_of_materials(materials: Materials) -> bytes:
    """The bill, as JSON."""
    packages = list(_packages(materials))
    components = [_model(materials), *_sources(materials), _base(materials), *packages]
    return canonical(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, materials.image.digest)}",
            "version": 1,
            "metadata": {
                "component": _image(materials),
                "tools": {
                    "components": [
                        {"type": "application", "name": name, "version": version}
                        for name, version in sorted(materials.tools.items())
                    ]
                },
            },
            "components": components,
            "dependencies": [
                {"ref": _IMAGE, "dependsOn": [_MODEL, _BASE]},
                {"ref": _MODEL, "dependsOn": [_ref(file) for file in materials.sets]},
                {"ref": _BASE, "dependsOn": [package["bom-ref"] for package in packages]},
            ],
        }
    )


def _image(materials: Materials) -> Object:
    platform, digest = materials.build.platform, materials.image.digest
    architecture = platform.architecture
    return {
        "type": "container",
        "bom-ref": _IMAGE,
        "name": materials.name,
        "version": digest,
        "hashes": _hashes(digest.partition(":")[2]),
        "properties": [
            {"name": "dev.edgesmith.build-key", "value": materials.build.key},
            {"name": "dev.edgesmith.platform", "value": f"{platform.os}/{architecture}"},
        ],
    }


def _model(materials: Materials) -> Object:
    """The model as it is served. Its ancestors are the source, and what somebody compiled of it."""
    report, metric = materials.report, materials.build.metric
    metrics = [(metric, report.accuracy), (f"{metric} drop", report.accuracy_drop), ("agreement", report.agreement)]
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": materials.name,
        "version": materials.build.key,
        "hashes": _hashes(materials.model),
        "pedigree": {"ancestors": [_ancestor(file) for file in materials.models]},
        "modelCard": {
            "modelParameters": {"datasets": [{"ref": _ref(file)} for file in materials.sets]},
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {"type": name, "value": f"{value:g}"} for name, value in metrics if value is not None
                ]
            },
        },
        "properties": [{"name": "dev.edgesmith.precision", "value": report.precision}],
    }


def _ancestor(file: Material) -> Object:
    hashes = _hashes(file.sha256)
    return {
        "type": "machine-learning-model",
        "name": file.name,
        "hashes": hashes,
        "externalReferences": [{"type": "distribution", "url": file.uri, "hashes": hashes}],
    }


def _sources(materials: Materials) -> Iterator[Object]:
    """The data sets."""
    for file in materials.sets:
        yield {
            "type": "data",
            "bom-ref": _ref(file),
            "name": f"{file.role} set",
            "hashes": _hashes(file.sha256),
            "data": [{"type": "dataset", "name": file.role, "contents": {"url": file.uri}}],
        }


def _base(materials: Materials) -> Object:
    return {
        "type": "container",
        "bom-ref": _BASE,
        "name": str(materials.base.reference.repository),
        "version": materials.base.manifest.digest,
        "hashes": _hashes(materials.base_digest),
    }


def _packages(materials: Materials) -> Iterator[Object]:
    """The Python packages that the base image says it holds."""
    labels = (materials.base.config.get("config") or {}).get("Labels") or {}
    words = str(labels.get(PACKAGES_LABEL, "")).split()
    for name, version in sorted({found.groups() for word in words if (found := _PACKAGE.fullmatch(word))})[
        :_MOST_PACKAGES
    ]:
        # A purl has a package's name in small letters with dashes (purl-spec, type pypi).
        purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version, safe='')}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _ref(file: Material) -> str:
    return f"data-{file.role}"


def _hashes(sha256: str) -> list[Object]:
    return [{"alg": "SHA-256", "content": sha256}]
