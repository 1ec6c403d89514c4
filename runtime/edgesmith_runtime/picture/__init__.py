"""Pictures in, labels or boxes out: what a bundle declares is done by this code at build, self-test and serve time.

One way, each step a module: `decode` (the bytes of a JPEG or PNG), `placing` and `preparing` (the model's input),
`classifying` or `detecting` (its answers), `pipeline` (all of them in order), `golden` (the picture that is replayed).
Pillow decodes and resizes; it is imported where a picture is decoded, so a server without pictures never loads it.
"""

from edgesmith_runtime.picture.declaration import (
    GOLDEN_PICTURE,
    LAYOUTS,
    Channels,
    Classification,
    Detection,
    Layout,
    Picture,
    PictureError,
    Recorded,
)
from edgesmith_runtime.picture.document import document_of, parse
from edgesmith_runtime.picture.pipeline import Pipeline

__all__ = [
    "GOLDEN_PICTURE",
    "LAYOUTS",
    "Channels",
    "Classification",
    "Detection",
    "Layout",
    "Picture",
    "PictureError",
    "Pipeline",
    "Recorded",
    "document_of",
    "parse",
]
