"""Which samples a node sends home, and what is taken out of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from edgesmith.api.fraction import Fraction
from edgesmith.api.model import Model, fits, rules
from edgesmith.api.source import SecretRef
from edgesmith.api.units import Size

PLACE_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*$"
_MOST_PIXELS = 65536


def _pixels(said: str) -> int | None:
    found: int | None = Field(None, ge=0, le=_MOST_PIXELS, description=said)
    return found


class RedactionRule(Model):
    """One thing that is taken out of each sample."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "self.action != 'Mask' || (has(self.height) && has(self.width))": "action Mask needs height and width",
                "self.action != 'Coarsen' || has(self.block)": "action Coarsen needs block",
            }
        )
    )

    tensor: str = Field(min_length=1, max_length=253, description="An input or output of the model, by its name.")
    action: Literal["Drop", "Mask", "Coarsen"] = Field(
        description=(
            "Drop: the tensor is left out. Mask: a rectangle of it is set to 0. Coarsen: each block is set to its mean."
        )
    )
    top: int | None = _pixels("Mask: the first row of the rectangle. Absent: 0.")
    left: int | None = _pixels("Mask: its first column. Absent: 0.")
    height: int | None = _pixels("Mask: its rows.")
    width: int | None = _pixels("Mask: its columns.")
    block: int | None = Field(None, ge=2, le=_MOST_PIXELS, description="Coarsen: the edge of a block in pixels.")
    layout: Literal["NCHW", "NHWC"] | None = Field(
        None, description="Where rows and columns are: the last two axes, or the two before the last. Absent: NCHW."
    )


class Redact(Model):
    """What is taken out of each sample before it is kept; where that fails, the sample is not kept."""

    rules: tuple[RedactionRule, ...] = Field((), max_length=64, description="What is declared; all of it, in order.")
    command: tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...] = Field(
        (),
        max_length=32,
        json_schema_extra={"x-member": "The program's path, or an argument."},
        description=(
            "A program of the image and its arguments, after the rules: it reads an .npz from standard input and "
            "writes what is left of it to standard output."
        ),
    )


class Sample(Model):
    """Which samples a node sends home, with privacy Samples."""

    bytes_per_day: Size = Field(
        "20M", description="Most bytes of samples in any 24 hours, for each node, as a Quantity or in bytes."
    )
    disk_bytes: Size = Field(
        "200M",
        description=(
            "Most bytes of the node's disk that samples take while they wait; beyond it those go that are worth least."
        ),
    )
    random_share: Fraction = Field(
        "50%",
        description=(
            "Share of the bytes for samples at random, from which alone anything can be estimated, as a fraction in "
            "quotes."
        ),
    )
    bytes_per_second: Size = Field("256Ki", description="Most bytes a second on the link, for each node.")
    redact: Redact | None = Field(None, description="What is taken out of samples before they are kept.")


class FeedbackBucket(Model):
    """Where samples go."""

    uri: str = Field(
        pattern=PLACE_PATTERN,
        max_length=512,
        description="s3://BUCKET/PREFIX; objects are at PREFIX/NODE/NAMESPACE/MODEL/SHA256.npz.",
        json_schema_extra=fits("must be s3://BUCKET/PREFIX with letters, digits, '.', '_' and '-'"),
    )
    secret_ref: SecretRef = Field(
        description=(
            "Secret in the same namespace: for each node a key of its name with the lines AWS_ACCESS_KEY_ID=… and "
            "AWS_SECRET_ACCESS_KEY=…, or these two as keys for all nodes; AWS_ENDPOINT_URL and AWS_REGION where "
            "wanted. Absent there, the operator's default endpoint."
        )
    )
