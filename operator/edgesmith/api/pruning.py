"""Whether a model is built with fewer channels as well."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model, fits


class Pruning(Model):
    """Whole channels of the network that are removed before it is compiled."""

    ratio: str = Field(
        pattern="^[1-9][0-9]?%$",
        max_length=16,
        json_schema_extra=fits("must be a percentage from 1% to 99%"),
        description=(
            "Share of the multiplications of convolutions and matrix products that is to go, in whole per cent and in "
            'quotes: "30%".'
        ),
    )
