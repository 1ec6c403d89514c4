"""The bundle: the folder ``/model`` of a variant's image, and the only thing that a build hands to the runtime.

``bundle.json`` names every other file of the folder with its digest; a file that is missing, changed, not named, or
anything but a plain file makes the whole bundle unreadable. What clients call the model is not in it: whoever serves it
says so, and two that serve the same bytes under two names share an image.
"""

from edgesmith_runtime.bundle.description import (
    BASELINE,
    BUNDLE_FILE,
    DEFAULT_NAME,
    FORMAT_VERSION,
    GOLDEN_ANSWERS,
    GOLDEN_INPUTS,
    Bundle,
    BundleError,
    is_name,
)
from edgesmith_runtime.bundle.reading import read_bundle
from edgesmith_runtime.bundle.writing import write_bundle
from edgesmith_runtime.tensors import TensorSpec

__all__ = [
    "BASELINE",
    "BUNDLE_FILE",
    "DEFAULT_NAME",
    "FORMAT_VERSION",
    "GOLDEN_ANSWERS",
    "GOLDEN_INPUTS",
    "Bundle",
    "BundleError",
    "TensorSpec",
    "is_name",
    "read_bundle",
    "write_bundle",
]
