"""What is started, once, when drift begins."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from edgesmith.api.model import Model, fits, rules
from edgesmith.api.source import SUBDOMAIN_PATTERN, SecretRef
from edgesmith.api.units import PositiveDuration

_Word = Annotated[str, Field(max_length=4096)]

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = "[0-9A-Fa-f]{1,4}"
_BEFORE_LAST = "|".join(
    [
        f"({_GROUP}:){{6}}",
        f"::({_GROUP}:){{5}}",
        *(f"(({_GROUP}:){{0,{4 - after}}}{_GROUP})?::({_GROUP}:){{{after}}}" for after in (4, 3, 2, 1, 0)),
    ]
)
"""What may stand before the last 32 bits of an IPv6 address: RFC 3986, section 3.2.2, IPv6address."""
_IPV6 = (
    rf"(({_BEFORE_LAST})({_GROUP}:{_GROUP}|({_OCTET}\.){{3}}{_OCTET})|"
    f"(({_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}|(({_GROUP}:){{0,6}}{_GROUP})?::)"
)
_HOST = rf"(\[{_IPV6}\]|{_LABEL}(\.{_LABEL})*\.?)"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_VISIBLE = '[!-"$-~]'
"""ASCII that is printed, without a blank and `#`."""
ADDRESS_PATTERN = f"^https?://{_HOST}(:{_PORT})?(/{_VISIBLE}*)?$"
"""What an event can be sent to; whoever sends it refuses every other address, hours later."""


class RetrainingEvent(Model):
    """Where a CloudEvent is sent."""

    uri: str = Field(
        pattern=ADDRESS_PATTERN,
        max_length=1024,
        description="Where it is sent to, by POST, in CloudEvents' structured mode: https://HOST/PATH, in ASCII.",
        json_schema_extra=fits("must be https://HOST/PATH in ASCII, or http:// of a Service inside the cluster"),
    )
    secret_ref: SecretRef | None = Field(
        None,
        description=(
            "Secret whose key `secret` signs it as Standard Webhooks say: whsec_ and base64, or any text. Absent: it "
            "is not signed."
        ),
    )


class RetrainingJob(Model):
    """A Job that trains; it runs under the Pod Security Standard restricted."""

    image: str = Field(min_length=1, max_length=1024, description="What it runs; better by digest.")
    command: tuple[_Word, ...] = Field(
        (),
        max_length=64,
        description="The program, in place of the image's own.",
        json_schema_extra={"x-member": "The program, or an argument of it."},
    )
    args: tuple[_Word, ...] = Field(
        (), max_length=64, description="Its arguments.", json_schema_extra={"x-member": "An argument."}
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        description="More variables; those whose names begin with EDGESMITH_ are the operator's.",
        json_schema_extra={"x-member": "The variable's value."},
    )
    secret_refs: tuple[SecretRef, ...] = Field(
        (), max_length=8, description="Secrets whose keys are variables too: the keys of the bucket, say."
    )
    service_account: str | None = Field(
        None,
        pattern=SUBDOMAIN_PATTERN,
        max_length=253,
        description=(
            "ServiceAccount whose token it gets: one that may patch this EdgeModel's spec.source, say. Whoever may "
            "write EdgeModels may use each one of the namespace. Absent: it gets no token."
        ),
        json_schema_extra=fits("must be the name of a ServiceAccount: letters in lower case, digits, - and ."),
    )
    resources: dict[str, dict[str, str | int]] | None = Field(
        None, description="Its requests and limits.", json_schema_extra={"x-edgesmith-schema": "resources"}
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Where it may run. Empty: anywhere, edge nodes among them.",
        json_schema_extra={"x-member": "The label's value."},
    )
    deadline: PositiveDuration = Field("6h", description="How long it may take, all tries together.")
    retries: int = Field(2, ge=0, le=10, description="How often it is tried again.")


class Retraining(Model):
    """What is started, once, when an episode of drift begins."""

    model_config = ConfigDict(
        json_schema_extra=rules({"has(self.event) || has(self.job)": "retraining needs event, job or both"})
    )

    min_nodes: int = Field(1, ge=1, le=100_000, description="How many nodes have to drift.")
    event: RetrainingEvent | None = Field(None, description="Where a CloudEvent is sent.")
    job: RetrainingJob | None = Field(None, description="A Job that trains, made in the EdgeModel's namespace.")
