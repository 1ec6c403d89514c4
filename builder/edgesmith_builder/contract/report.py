"""What the builder answers where there is an image."""

from __future__ import annotations

from pydantic import Field

from edgesmith_builder.contract.toolchains import Precision
from edgesmith_builder.contract.wire import Wire

REPORT_ANNOTATION = "dev.edgesmith.report"
"""The manifest annotation that holds the `BuildReport` as JSON."""

KEY_ANNOTATION = "dev.edgesmith.build-key"
"""The manifest annotation that holds the build key."""


class Candidate(Wire):
    """One rung of the ladder, as measured. Nothing here depends on the machine's speed: the report is in the image."""

    precision: Precision
    accuracy: float | None = None
    """The metric's value."""
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
    agreement_where: str | None = None
    """Where that is: `channel 4 of output 'detections'`."""
    agreement_samples: int | None = None
    """How many samples the agreement was measured on."""
    size: int | None = None
    """Bytes of the model file."""
    rejected: str | None = None
    """Why it did not win, in one sentence; absent for the winner and for rungs not reached."""


class BuildReport(Wire):
    """What a build found out; in the image's manifest under `REPORT_ANNOTATION`."""

    precision: Precision
    accuracy: float | None = None
    """The metric's value."""
    accuracy_drop: float | None = None
    """Lost against the source; of an error, its relative rise."""
    accuracy_drop_error: float | None = None
    """Half the width of the drop's 95 % confidence interval."""
    agreement: float | None = None
    """With the source, from 0 to 1, where it is least; absent for the source itself."""
    reference_accuracy: float | None = None
    """Of the source as it came, in fp32."""
    samples: int | None = None
    """How many samples the metric was measured over."""
    size: int
    """Bytes of the model layer: what travels when only the model changes."""
    warnings: tuple[str, ...] = ()
    """What was measured and is not as good as it looks, each in one sentence."""
    candidates: tuple[Candidate, ...]


class BuildResult(Wire):
    """What a build ended with: the last line of the builder's termination message where there is no failure."""

    image: str = Field(pattern=r"^[^@]+@sha256:[0-9a-f]{64}$")
    """The image by digest, as it was pushed or found: `REGISTRY/NAME@sha256:HEX`."""

    @property
    def digest(self) -> str:
        """`sha256:HEX` of the image's manifest."""
        return self.image.partition("@")[2]
