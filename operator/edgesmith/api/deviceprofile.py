"""DeviceProfile: one class of hardware."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field

from edgesmith.api.model import Model, ObjectMeta, rules
from edgesmith.api.names import NODE_LABEL_SUFFIX
from edgesmith.api.units import Size
from edgesmith_builder.contract import Precision, ToolchainName

KIND = "DeviceProfile"
PLURAL = "deviceprofiles"

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Every precision there is."""

EVERY_NAMESPACE = "*"
"""In `spec.allowedNamespaces`: every namespace."""
NAMESPACE_PATTERN = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"


class Platform(Model):
    """The operating system and processor an image must be for, in OCI's words."""

    os: Literal["linux"] = Field("linux", description="Operating system, as OCI names it.")
    architecture: Literal["amd64", "arm64"] = Field(description="Processor architecture, as OCI names it.")
    variant: str | None = Field(None, description="Architecture variant, as OCI names it: v8 for arm64, say.")


class Hardware(Model):
    """What the device is. For people and reports; nothing is decided by it."""

    soc: str | None = Field(None, description="System on chip: BCM2712, say.")
    memory: Size | None = Field(None, description="Memory as a Quantity or in bytes: 8Gi, say.")
    accelerator: str | None = Field(None, description="Accelerator, where there is one.")
    power: str | None = Field(None, description="Power envelope: 5-12W, say.")


class Toolchain(Model):
    """How a model is compiled for this class of hardware."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "!has(self.precisions) || !has(self.impossible) "
                "|| !self.precisions.exists(one, one in self.impossible)": (
                    "precisions must have none that impossible has"
                )
            }
        )
    )

    name: ToolchainName = Field("ONNXRuntime", description="The toolchain that compiles candidates.")
    precisions: tuple[Precision, ...] | None = Field(
        None,
        min_length=1,
        max_length=len(PRECISIONS),
        description=(
            "Precisions to try, best first; the first that compiles and passes every gate wins. Absent: the "
            "toolchain's own, without those that are impossible."
        ),
        json_schema_extra={"x-member": "A precision."},
    )
    options: Annotated[dict[str, str], Field(max_length=16)] = Field(
        default_factory=dict,
        description="What the toolchain is told, by name; docs/deviceprofile.md has what each can be told.",
        json_schema_extra={"x-member": "The option's value."},
    )
    impossible: Annotated[dict[str, str], Field(max_length=len(PRECISIONS))] = Field(
        default_factory=dict,
        description="Precisions that this hardware cannot run, with why in a sentence.",
        json_schema_extra={
            "x-member": "Why it is impossible.",
            **rules(
                {
                    f"self.all(key, key in [{', '.join(map(repr, PRECISIONS))}])": (
                        f"must have no other keys than {', '.join(PRECISIONS)}"
                    )
                }
            ),
        },
    )


class Runtime(Model):
    """The server that runs on these devices."""

    server: Literal["ONNXRuntime"] = Field("ONNXRuntime", description="The server that runs the model.")
    runtime_class_name: str | None = Field(None, description="RuntimeClass of serving pods.")
    resources: dict[str, dict[str, str | int]] | None = Field(
        None,
        description=(
            "Requests and limits of serving pods; an EdgeModel's own add to and replace these. Where neither gives a "
            "memory limit, it is 1Gi, or twice the larger of gates.maxMemory and the memory request where that is more."
        ),
        json_schema_extra={"x-edgesmith-schema": "resources"},
    )
    tolerations: tuple[dict[str, Any], ...] = Field(
        (),
        description="Tolerations of serving pods, as in a PodSpec.",
        json_schema_extra={"x-edgesmith-schema": "tolerations"},
    )


class DeviceProfileSpec(Model):
    """One class of hardware: which nodes are of it, how a model is compiled for it, which server runs it there."""

    node_selector: Annotated[dict[str, str], Field(min_length=1, max_length=16)] = Field(
        description=(
            "Labels that a node of this class carries; at least one. A kubelet may set most labels of its own node, "
            "but none whose prefix is or ends in node-restriction.kubernetes.io."
        ),
        json_schema_extra={
            "x-member": "The label's value.",
            **rules(
                {
                    f"self.all(key, !key.contains('.{NODE_LABEL_SUFFIX}/'))": (
                        f"must have no label of NAMESPACE.{NODE_LABEL_SUFFIX}/NAME: the operator sets and removes those"
                    )
                }
            ),
        },
    )
    allowed_namespaces: tuple[Annotated[str, Field(pattern=NAMESPACE_PATTERN, max_length=63)], ...] | None = Field(
        None,
        min_length=1,
        max_length=256,
        description=(
            "Namespaces whose EdgeModels may use the profile, and so run on its nodes. Absent, or with `*` among them: "
            "every namespace."
        ),
        json_schema_extra={"x-set": True, "x-member": "Name of a namespace, or `*` for every namespace."},
    )
    platform: Platform = Field(description="What an image must be for.")
    hardware: Hardware = Field(Hardware(), description="What the device is, for people.")
    toolchain: Toolchain = Field(Toolchain(), description="How a model is compiled for it.")
    runtime: Runtime = Field(Runtime(), description="The server that runs there.")


class DeviceProfile(Model):
    """A DeviceProfile object."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "size(self.metadata.name) <= 63": (
                    "metadata.name must have 63 characters at most: it is a label of what is built for it"
                )
            }
        )
    )

    metadata: ObjectMeta
    spec: DeviceProfileSpec

    def allows(self, namespace: str) -> bool:
        """Whether EdgeModels of a namespace may use the profile."""
        allowed = self.spec.allowed_namespaces
        return allowed is None or EVERY_NAMESPACE in allowed or namespace in allowed
