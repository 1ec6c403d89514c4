"""What the builder answers where there is an image."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgesmith_builder.contract.toolchains import Form
from edgesmith_builder.contract.wire import Wire

REPORT_ANNOTATION = "dev.edgesmith.report"
"""The manifest annotation that holds the `BuildReport` as JSON."""

KEY_ANNOTATION = "dev.edgesmith.build-key"
"""The manifest annotation that holds the build key."""

BASE_NAME_ANNOTATION = "org.opencontainers.image.base.name"
BASE_DIGEST_ANNOTATION = "org.opencontainers.image.base.digest"
"""The OCI image specification's own, `annotations.md`: the repository and the digest of the base image."""

LARGE = 256 << 20
"""Bytes on a node's disk above which an image is large, or the finalists of a trial are: nodes look for room before
they pull what is."""


def base_tag(digest: str) -> str:
    """The tag of a base image beside the models that are made over it.

    Args:
        digest: `sha256:HEX` of its manifest.
    """
    return f"base-{digest.partition(':')[2]}"


class InFloat(Wire):
    """A node that is left in float because it loses most in int8."""

    node: str
    """Its operator, its name and the shape of its weights."""
    tensor: str
    """Which of what it reads and writes loses most."""
    decibels: float
    """What eight bits leave of that: 20 where noise is a tenth of the signal, 0 where it is as large."""


class Renamed(Wire):
    """An input or output of an alternative that is called as the model of `spec.source` calls it."""

    kind: Literal["Input", "Output"]
    was: str
    """As the alternative's file has it."""
    now: str
    """As the model of `spec.source` and every client have it."""

    def __str__(self) -> str:
        """As people read it: `input.1 -> data`."""
        return f"{self.was} -> {self.now}"


class Candidate(Wire):
    """One rung of the ladder, as measured. Nothing here depends on the machine's speed: the report is in the image."""

    precision: Form
    accuracy: float | None = None
    """The metric's value."""
    accuracy_error: float | None = None
    """How far it may be off, in its own unit: its 95 % confidence interval reaches no further on either side."""
    accuracy_drop: float | None = None
    """Lost against the source; of an error, its relative rise."""
    accuracy_drop_error: float | None = None
    """Half the width of the drop's 95 % confidence interval."""
    lost: int | None = None
    """Evaluation samples that the source is right about and the candidate wrong."""
    gained: int | None = None
    """Evaluation samples that the source is wrong about and the candidate right."""
    agreement: float | None = None
    """With the source, from 0 to 1, where it is least; see `edgesmith_builder.score.agreement`."""
    agreement_error: float | None = None
    """How far that may be off: its 95 % confidence interval reaches no further on either side."""
    agreement_where: str | None = None
    """Where that is: `channel 4 of output 'detections'`."""
    agreement_samples: int | None = None
    """How many samples the agreement was measured on."""
    size: int | None = None
    """Bytes of the model file."""
    image_size: int | None = None
    """Compressed bytes of the whole image, base included."""
    multiplications: float | None = None
    """Share of the source's that is left, to four digits; absent where nothing was removed."""
    in_float: tuple[InFloat, ...] = ()
    """Nodes that are left in float because they lose most in int8, the worst first; 16 at most are listed."""
    int8_share: float | None = None
    """Of the multiplications by weights, in int8; absent where no node was left out for what it loses."""
    rejected: str | None = None
    """Why there is no image of it, in one sentence: it cannot be made, or does not work; absent for finalists."""


class Finalist(Wire):
    """A candidate that works, as an image of its own; `candidates` of the report have what was measured of it."""

    precision: Form
    digest: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Of the image's manifest, in the same repository. Absent: the image that carries the report."""
    size: int
    """Bytes of the model layer."""
    footprint: int | None = None
    """As the report has it."""
    warnings: tuple[str, ...] = ()
    """As the report has them."""
    rebased_from: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """As the report has it."""


class BuildReport(Wire):
    """What a build found out; in the image's manifest under `REPORT_ANNOTATION`."""

    precision: Form
    accuracy: float | None = None
    """The metric's value."""
    accuracy_error: float | None = None
    """How far it may be off, in its own unit: its 95 % confidence interval reaches no further on either side."""
    accuracy_drop: float | None = None
    """Lost against the source; of an error, its relative rise."""
    accuracy_drop_error: float | None = None
    """Half the width of the drop's 95 % confidence interval."""
    agreement: float | None = None
    """With the source, from 0 to 1, where it is least; absent for the source itself."""
    agreement_error: float | None = None
    """How far that may be off, as of a candidate."""
    multiplications: float | None = None
    """Share of the source's that is left; absent where nothing was removed."""
    reference_accuracy: float | None = None
    """Of what candidates are held against: the source as it came or, of an alternative, `spec.source` as it came."""
    source_accuracy: float | None = None
    """Of an alternative as it came."""
    samples: int | None = None
    """How many samples the metric was measured over."""
    metric: str = "accuracy"
    """What sentences call the metric."""
    higher: bool = True
    """Whether a higher value of the metric is a better one."""
    renamed: tuple[Renamed, ...] = ()
    """Of an alternative, whose tensors came under other names; 16 at most are listed."""
    size: int
    """Bytes of the model layer: what travels when only the model changes."""
    footprint: int | None = None
    """Bytes that the image adds on the disk of a node that has its base: its layers over that as containerd keeps
    them, and once more unpacked. Absent: all finalists together add no more than `LARGE`, so nobody looks for room."""
    base: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """The base image's manifest for the build's platform, which is in the same repository too, with `base_tag`: what a
    node runs to look for room. Absent: the finalists are not large, not even together."""
    engine_version: str | None = None
    """The ONNX Runtime that the layers are for, where it is older than the builder's. Absent: it is not, or unknown."""
    warnings: tuple[str, ...] = ()
    """What was measured and is not as good as it looks, each in one sentence."""
    rebased_from: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """The image in the same repository whose two layers these are, taken over to another base image. Absent: they were
    compiled."""
    candidates: tuple[Candidate, ...]
    finalists: tuple[Finalist, ...] = ()
    """All of them, in the ladder's order; in the report of the first alone. Gates choose among them."""

    def candidate(self, precision: Form) -> Candidate:
        """What was measured of a rung; nothing where it is not one of the ladder's."""
        return next((one for one in self.candidates if one.precision == precision), Candidate(precision=precision))

    def of(self, finalist: Finalist) -> BuildReport:
        """The report as the image of one finalist has it."""
        found = self.candidate(finalist.precision)
        said: dict[str, Any] = {name: getattr(found, name) for name in _OF_CANDIDATES}
        told = {
            name: getattr(finalist, name) for name in ("precision", "size", "footprint", "warnings", "rebased_from")
        }
        return self.model_copy(update=said | told | {"finalists": ()})


_OF_CANDIDATES = (
    *("accuracy", "accuracy_error", "accuracy_drop", "accuracy_drop_error"),
    *("agreement", "agreement_error", "multiplications"),
)
"""What a report repeats of the candidate that its image is."""


class BuildResult(Wire):
    """What a build ended with: the last line of the builder's termination message where there is no failure."""

    image: str = Field(pattern=r"^[^@]+@sha256:[0-9a-f]{64}$")
    """The first finalist by digest, as it was pushed or found: `REGISTRY/NAME@sha256:HEX`."""
    made: bool = False
    """Whether this build made it, by compiling or from the layers of one that was made. False: it was found under its
    key, and who made it is not known."""

    @property
    def digest(self) -> str:
        """`sha256:HEX` of the image's manifest."""
        return self.image.partition("@")[2]
