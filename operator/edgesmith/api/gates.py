"""Bounds that a variant must keep."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.fraction import Fraction
from edgesmith.api.model import Model, fits
from edgesmith.api.units import Duration, Interval, PositiveDuration, Size

ERRORS = ("RMSE", "MAE")
"""Metrics whose lower values are better."""
NUMBER_PATTERN = r"^[0-9]+(\.[0-9]+)?$"
RATIO_PATTERN = r"^[1-9][0-9]{0,5}(\.[0-9]{1,6})?$"


class Traffic(Model):
    """What a server's requests are held to while it serves, on each device, against the previous revision there."""

    max_error_rate: Fraction = Field(
        "5%",
        description=(
            "Most requests that may fail, above those that failed on the previous revision on the same node, as a "
            "fraction in quotes: the model failed, answered infinities or NaN to inputs without, or refused inputs "
            "that fit its signature. What the model refuses counts only where the previous revision is known; a "
            "client's other mistakes, a full queue and a server that stops never do. 100%: not judged."
        ),
    )
    max_latency_ratio: str | None = Field(
        None,
        pattern=RATIO_PATTERN,
        max_length=16,
        json_schema_extra=fits("must be a number from 1 as a string, with a point and without %: 1.5, say"),
        description=(
            "How many times as long as on the previous revision on the same node half of the runs may take, as a "
            'number from 1 in quotes: "1.5", say. Absent: not judged.'
        ),
    )
    max_confidence_drop: Fraction | None = Field(
        None,
        description=(
            "How far the mean score of the best class may be below that of the previous revision on the same node, as "
            'a fraction in quotes: "10%", say. For models that answer probabilities of classes. Absent: not judged.'
        ),
    )
    min_requests: int = Field(
        50, ge=1, le=1_000_000, description="Requests of a server before anything is found against it."
    )
    period: Duration = Field(
        "1h",
        description=(
            "For how long after it became ready a server's requests are judged; choose it as long as the longest bake. "
            "0s: not at all."
        ),
    )


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
        json_schema_extra=fits("must be a number from 0 as a string: 0.75, say"),
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
    traffic: Traffic = Field(
        Traffic(),
        description=(
            "What the requests of a server are held to while it serves. One that is found outside ends with the "
            "reason, and its node has failed. Not with Triton."
        ),
    )
    replay_interval: Interval = Field(
        "10m",
        description=(
            "How often a server asks its model for the golden samples again, when nothing else is asked; one that "
            "answers otherwise ends. 0s: never. Not with Triton."
        ),
    )
