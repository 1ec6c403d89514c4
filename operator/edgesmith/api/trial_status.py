"""What a trial found, as the status of an EdgeModel keeps it."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model

ALTERNATIVE = "Of spec.optimize.alternatives, or source: spec.source. Absent: there are no alternatives."
"""How fields say which model a candidate is of."""


def candidate_name(alternative: str | None, precision: str) -> str:
    """What sentences call a candidate: `int8` or, where there are alternatives, `gru/int8`."""
    return f"{alternative}/{precision}" if alternative else precision


class FinalistStatus(Model):
    """A candidate that keeps the gates, and what a device measured of it."""

    alternative: str | None = Field(None, description=ALTERNATIVE)
    precision: str = Field(description="The rung of the ladder that it is.")
    image: str = Field(description="Its image by digest.")
    size: int = Field(description="Bytes of its model layer.")
    accuracy: str | None = Field(None, description="As `variants[].accuracy`.")
    accuracy_error: str | None = Field(None, description="As `variants[].accuracyError`.")
    accuracy_drop: str | None = Field(None, description="As `variants[].accuracyDrop`.")
    accuracy_drop_error: str | None = Field(None, description="As `variants[].accuracyDropError`.")
    agreement: str | None = Field(None, description="As `variants[].agreement`; absent for the source itself.")
    agreement_error: str | None = Field(None, description="As `variants[].agreementError`.")
    multiplications: str | None = Field(None, description="As `variants[].multiplications`.")
    latency: str | None = Field(None, description="p95 latency of one inference on the device: 3.214ms, say.")
    median: str | None = Field(None, description="Median latency of one inference on the device.")
    memory: int | None = Field(None, description="Most bytes of memory that its server had on the device.")
    reason: str | None = Field(
        None,
        description=(
            "What its self-test found, in one word for machines: Passed, say, or Died where it left no finding. "
            "Absent: it has not been tried yet."
        ),
    )
    message: str | None = Field(
        None, max_length=1024, description="What its self-test found, in one sentence for people."
    )
    verdict: str | None = Field(
        None, max_length=1024, description="Why it was chosen or not, in one sentence. Absent: the trial goes on."
    )

    @property
    def name(self) -> str:
        """As sentences and `winner` name it: `gru/int8`."""
        return candidate_name(self.alternative, self.precision)

    @property
    def container(self) -> str:
        """The container of a trial pod that tries it: `gru-int8`."""
        return f"{self.alternative}-{self.precision}" if self.alternative else self.precision


class FullDisk(Model):
    """A node whose disk has no room for what it is to try."""

    node: str = Field(description="Node.")
    time: str = Field(description="When it looked last.", json_schema_extra={"format": "date-time"})
    message: str = Field(max_length=512, description="What is free and what is needed, as the end of a sentence.")


class TrialStatus(Model):
    """A trial: what one device of a profile measured of the candidates that keep the gates.

    The operator decides by it, so nobody else should write it.
    """

    profile: str = Field(description="DeviceProfile.")
    build_key: str = Field(description="Build of spec.source; alternatives to it are other builds.")
    node: str | None = Field(None, description="Node that tries them, or tried them.")
    started_time: str | None = Field(
        None,
        description="When it began there. Absent: it waits, for its turn there, say.",
        json_schema_extra={"format": "date-time"},
    )
    completed_time: str | None = Field(
        None, description="When all of them had been tried.", json_schema_extra={"format": "date-time"}
    )
    device: dict[str, str] | None = Field(
        None,
        description=(
            "What the self-tests said of the device and of what drives it; the trial is made anew where the node says "
            "something else later."
        ),
        json_schema_extra={"x-member": "A fact."},
    )
    winner: str | None = Field(
        None, description="The candidate that is rolled out: int8, or gru/int8. Absent: none yet, or none at all."
    )
    message: str | None = Field(None, max_length=2048, description="Where the trial stands, in one sentence.")
    attempt: str | None = Field(None, description="The retry word when it began.")
    lost: tuple[str, ...] | None = Field(
        None,
        max_length=16,
        description="Nodes that were to try them and did not finish.",
        json_schema_extra={"x-member": "Node."},
    )
    lent: tuple[str, ...] | None = Field(
        None,
        max_length=16,
        description=(
            "Nodes that are asked to give up their server, which holds a device that the trial needs, or gave it up "
            "and run no revision since."
        ),
        json_schema_extra={"x-member": "Node."},
    )
    full: tuple[FullDisk, ...] | None = Field(
        None,
        max_length=16,
        description="Nodes whose disk has no room for what they are to try; each is asked again after 10 minutes.",
        json_schema_extra={"x-map-key": "node"},
    )
    finalists: tuple[FinalistStatus, ...] = Field(
        (),
        max_length=16,
        description=(
            "The candidates that keep the gates, in the ladder's order (of several builds the first of each, then the "
            "second of each), and behind them those that were tried and do not keep them any more."
        ),
        json_schema_extra={"x-map-key": "image"},
    )
