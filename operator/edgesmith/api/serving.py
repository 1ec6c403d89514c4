"""How a model is served."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from edgesmith.api.model import Model, rules
from edgesmith.api.units import PositiveDuration


def _port(protocol: str) -> Any:
    """A port of the node for one protocol."""
    said = f"Port of the node for {protocol}. Absent: none with HostPort, with NodePort one that the cluster picks."
    return Field(None, ge=1, le=65535, description=said)


class Expose(Model):
    """How clients outside the cluster reach the server of a node, at the node's own address."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "self.type != 'HostPort' || has(self.httpPort) || has(self.grpcPort)": (
                    "type HostPort needs httpPort, grpcPort or both"
                ),
                "!has(self.httpPort) || !has(self.grpcPort) || self.httpPort != self.grpcPort": (
                    "httpPort and grpcPort must be two different ports"
                ),
            }
        )
    )

    type: Literal["HostPort", "NodePort"] = Field(
        description=(
            "HostPort: a port of the nodes that run the model; namespaces under the Pod Security Standards baseline "
            "and restricted forbid it. NodePort: a port of every node, of which those that run the model answer."
        )
    )
    http_port: int | None = _port("HTTP")
    grpc_port: int | None = _port("gRPC")


class Batching(Model):
    """How requests that come at once are run together."""

    max_latency: PositiveDuration = Field(
        description=(
            "How long a run waits at most for requests that are likely to come: 2ms, say. A lone one waits for nobody."
        )
    )
    max_size: int | None = Field(
        None,
        ge=2,
        le=65536,
        description="Most samples in one run; serving.maxBatch where absent, which it cannot exceed.",
    )


class Serving(Model):
    """How the model is served."""

    model_config = ConfigDict(
        # An object's default is judged before its fields' defaults are filled in, hence the has().
        json_schema_extra=rules(
            {
                "!has(self.port) || !has(self.grpcPort) || self.port != self.grpcPort": (
                    "port and grpcPort must be two different ports"
                ),
                "!has(self.batching) || !has(self.batching.maxSize) || self.batching.maxSize <= "
                "(has(self.maxBatch) ? self.maxBatch : 8)": "batching.maxSize must be maxBatch or less",
            }
        )
    )

    port: int = Field(8000, ge=1, le=65535, description="HTTP port of the Open Inference Protocol.")
    grpc_port: int = Field(8001, ge=1, le=65535, description="gRPC port of the Open Inference Protocol.")
    max_batch: int = Field(
        8,
        ge=1,
        le=65536,
        description=(
            "Most samples in one request; larger ones are refused. Self-tests measure the server's memory with batches "
            "of it, as far as a request may be long. It concerns inputs whose first size is open and is their batch."
        ),
    )
    batching: Batching | None = Field(
        None,
        description=(
            "Requests that come at once are run together: more are answered, each somewhat later. For models all "
            "of whose inputs and outputs have an open first size that is a batch, and whose golden samples come out of "
            "batches as they should; others are served without. Absent: each request is run alone. Triton has its own."
        ),
    )
    resources: dict[str, dict[str, str | int]] | None = Field(
        None,
        description=(
            "Requests and limits of serving pods; added to the profile's and winning over them. Where neither gives a "
            "memory limit, it is 1Gi, or twice the larger of gates.maxMemory and the memory request where that is more."
        ),
        json_schema_extra={"x-edgesmith-schema": "resources"},
    )
    expose: Expose | None = Field(
        None, description="How clients outside the cluster reach a node's server. Absent: pods of the node alone."
    )
