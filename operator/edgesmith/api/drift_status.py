"""What the status says of drift."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model

MOST_NAMED = 20
"""Nodes, and features, that the status names."""


class DriftedNode(Model):
    """A node that is asked other things than its model was made with."""

    name: str = Field(description="The node.")
    since: str = Field(description="Since when, by the node's clock.", json_schema_extra={"format": "date-time"})
    features: tuple[str, ...] = Field(
        (),
        max_length=3,
        description="What differs most, with how much and the limit: `x[3] 0.31 (0.13)`.",
        json_schema_extra={"x-member": "A feature."},
    )


class DriftedFeature(Model):
    """A feature that differs."""

    name: str = Field(description="The feature: an input's or output's name and what is read of it.")
    nodes: int = Field(description="Nodes that name it.")


class EpisodeStatus(Model):
    """The present episode of drift, or the last one; retraining is asked for once in each."""

    id: str = Field(max_length=32, description="What it is called in events and by Jobs.")
    of: str = Field(description="SHA-256 of the source that drift is about, or a hash of several.")
    began: str = Field(description="When it was first seen.", json_schema_extra={"format": "date-time"})
    ended: str | None = Field(
        None,
        description="When it was over: no node says any more that it drifts, or another source is there.",
        json_schema_extra={"format": "date-time"},
    )
    nodes: tuple[str, ...] = Field(
        (),
        max_length=MOST_NAMED,
        description="Nodes that drifted in it and have not said since that they do not any more.",
        json_schema_extra={"x-set": True, "x-member": "A node."},
    )
    others: int = Field(0, description="How many more there are, by the last that they said.")
    fired: tuple[str, ...] = Field(
        (),
        max_length=2,
        description="What was started for it: event, job. Each once.",
        json_schema_extra={"x-set": True, "x-member": "event or job."},
    )


class DriftStatus(Model):
    """What nodes say of drift, of the revision that is rolled out."""

    drifted: int = Field(0, description="Nodes that are asked other things than their model was made with.")
    steady: int = Field(0, description="Nodes that are not.")
    unknown: int = Field(0, description="Other nodes: they are away, have seen too little, or run another revision.")
    nodes: tuple[DriftedNode, ...] = Field(
        (),
        max_length=MOST_NAMED,
        description="The first of the nodes that drift, those that began first.",
        json_schema_extra={"x-map-key": "name"},
    )
    features: tuple[DriftedFeature, ...] = Field(
        (),
        max_length=MOST_NAMED,
        description="What differs on most nodes.",
        json_schema_extra={"x-map-key": "name"},
    )
    episode: EpisodeStatus | None = Field(None, description="The present episode, or the last one.")
