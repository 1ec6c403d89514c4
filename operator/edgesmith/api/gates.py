"""Bounds that a variant must keep."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.fraction import Fraction
from edgesmith.api.model import Model
from edgesmith.api.units import PositiveDuration, Size

ERRORS = ("RMSE", "MAE")
"""Metrics whose lower values are better."""
NUMBER_PATTERN = r"^[0-9]+(\.[0-9]+)?$"


class Gates(Model):
    """Bounds that a variant must keep. The first five are judged by what its build measured, the others on devices."""

    max_accuracy_drop: Fraction | None = Field(
        None,
        description=(
            "Most that a build may lose of the metric's value against the source, as a fraction in quotes: "
            '"1%" or "0.01". With RMSE and MAE: most that the error may rise, as a share of the source\'s.'
        ),
    )
    min_accuracy: Fraction | None = Field(
        None,
        description=(
            "Least value of the metric that a build may have, as a fraction in quotes: "
            '"93%" or "0.93". Not with RMSE and MAE.'
        ),
    )
    max_error: str | None = Field(
        None,
        pattern=NUMBER_PATTERN,
        max_length=32,
        description='With RMSE and MAE: most that the error may be, in the unit of the labels, in quotes: "0.75", say.',
    )
    min_agreement: Fraction | None = Field(
        None,
        description=(
            "Least agreement with the source that a candidate of other numbers may have, in its worst output and "
            'channel, as a fraction in quotes: "95%", say; needs no labels. Absent: 80%.'
        ),
    )
    max_image_size: Size | None = Field(
        None, description="Most compressed size of the image, base included, as a Quantity or in bytes: 500Mi, say."
    )
    max_latency: PositiveDuration | None = Field(
        None,
        description="Most p95 latency of one inference, measured on the device itself before it serves: 50ms, say.",
    )
    max_memory: Size | None = Field(
        None,
        description=(
            "Most memory of the server, measured on the device with batches of serving.maxBatch, as a Quantity or in "
            "bytes: 512Mi, say."
        ),
    )
