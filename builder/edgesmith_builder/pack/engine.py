"""Which ONNX Runtime is in a base image, by what its config says."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from edgesmith_builder.contract import TRITON, release_of

log = logging.getLogger(__name__)

PACKAGES_LABEL = "dev.edgesmith.packages"
"""The label of a base image that lists its Python packages: `NAME==VERSION NAME==VERSION …`."""

VERSION_LABEL = "dev.edgesmith.onnxruntime"
"""The label of a base image that says which ONNX Runtime is in it, for images of users."""

_TRITON = re.compile(r"NVIDIA_TRITON_SERVER_VERSION=(\d\d\.\d\d)")
"""What NVIDIA's images of Triton, and images made over them, have in their environment (its `build.py`)."""

_PACKAGE = re.compile(r"(?:^|\s)onnxruntime(?:-gpu)?==(\S+)")


def onnx_runtime_of(config: Mapping[str, Any]) -> str | None:
    """The version of the ONNX Runtime in an image; None where the image does not say.

    Args:
        config: The image config, as read.
    """
    inner = config.get("config") or {}
    labels = inner.get("Labels") or {}
    listed = _PACKAGE.search(str(labels.get(PACKAGES_LABEL, "")))
    releases = (_TRITON.fullmatch(str(one)) for one in inner.get("Env") or ())
    triton = next((TRITON.get(found[1]) for found in releases if found), None)
    for said in (labels.get(VERSION_LABEL), triton, listed[1] if listed else None):
        if said is not None and _is_version(str(said)):
            return str(said)
    return None


def _is_version(said: str) -> bool:
    try:
        release_of(said)
    except ValueError as error:
        log.warning("the base image says which ONNX Runtime it has, and %s", error)
        return False
    return True
