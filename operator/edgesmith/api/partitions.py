"""In which order a revision that held its steps reaches the nodes: partition by partition."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgesmith.api.model import Model, fits
from edgesmith.api.units import Duration

LABEL_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
VALUE_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"

_VALUE = fits("must be the value of a label: letters, digits, -, _ and ., the first and the last no sign")


class Partitions(Model):
    """Nodes by the value of a label: line by line, or site by site."""

    label: str = Field(
        pattern=LABEL_PATTERN,
        max_length=317,
        json_schema_extra=fits("must be the key of a label: zone or topology.kubernetes.io/zone, say"),
        description="Label of the nodes whose value is the partition: topology.kubernetes.io/zone, say.",
    )
    order: tuple[Annotated[str, Field(pattern=VALUE_PATTERN, max_length=63, json_schema_extra=_VALUE)], ...] = Field(
        (),
        max_length=256,
        description=(
            "Partitions that come first, in this order. Then come all others by their names, and at last the nodes "
            "without the label."
        ),
        json_schema_extra={"x-set": True, "x-member": "A value of the label."},
    )
    bake: Duration = Field(
        "0s",
        description=(
            "How long a partition must serve before the next one opens, from when every reachable node of it that is "
            "to run the revision serves it."
        ),
    )
