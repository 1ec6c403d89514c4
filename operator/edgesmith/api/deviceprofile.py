"""DeviceProfile: one class of hardware."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, field_validator

from edgesmith.api.model import Model, ObjectMeta, rules
from edgesmith.api.names import NODE_LABEL_SUFFIX
from edgesmith.api.source import SUBDOMAIN_PATTERN
from edgesmith.api.units import Size, parse_bytes
from edgesmith_builder.contract import VERSION_PATTERN, Precision, ServerName, ToolchainName

KIND = "DeviceProfile"
PLURAL = "deviceprofiles"

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Every precision there is."""

EVERY_NAMESPACE = "*"
"""In `spec.allowedNamespaces`: every namespace."""
IMAGE_PATTERN = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
FOLDER_PATTERN = r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$"
NAMESPACE_PATTERN = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"
ID_PATTERN = r"^[0-9a-f]{4}$"
CLASS_PATTERN = r"^([0-9a-f]{2}){1,3}$"
COMPATIBLE_PATTERN = r"^[A-Za-z0-9._+-]+,[A-Za-z0-9._+-]+$"
FEATURE_PATTERN = r"^[a-z0-9_]+$"


class Platform(Model):
    """The operating system and processor an image must be for, in OCI's words."""

    os: Literal["linux"] = Field("linux", description="Operating system, as OCI names it.")
    architecture: Literal["amd64", "arm64"] = Field(description="Processor architecture, as OCI names it.")
    variant: str | None = Field(None, description="Architecture variant, as OCI names it: v8 for arm64, say.")


class PCIDevice(Model):
    """A device at PCI, by what /sys/bus/pci/devices says of it."""

    vendor: str = Field(pattern=ID_PATTERN, description="Vendor ID, four hex digits: 1ac1, say.")
    device: str | None = Field(
        None, pattern=ID_PATTERN, description="Device ID, four hex digits; absent: any of the vendor."
    )
    class_: str | None = Field(
        None,
        alias="class",
        pattern=CLASS_PATTERN,
        description="Begin of the class code in hex: 03 for displays, say; absent: any.",
    )


class USBDevice(Model):
    """A device at USB, by what /sys/bus/usb/devices says of it."""

    vendor: str = Field(pattern=ID_PATTERN, description="Vendor ID, four hex digits: 18d1, say.")
    product: str = Field(pattern=ID_PATTERN, description="Product ID, four hex digits.")


class Detect(Model):
    """How a device of this class is told from others.

    The processor architecture of spec.platform must be the device's, and each list that is given must be met. Of
    deviceTree, pci and usb, one entry is enough; of cpuFeatures, every one must be there.
    """

    device_tree: tuple[Annotated[str, Field(pattern=COMPATIBLE_PATTERN, max_length=128)], ...] = Field(
        (),
        max_length=32,
        description="Boards, of which one must be in the device tree's `compatible`: raspberrypi,5-model-b, say.",
        json_schema_extra={"x-member": "VENDOR,BOARD as the device tree has it."},
    )
    pci: tuple[PCIDevice, ...] = Field(
        (), max_length=32, description="Devices at PCI, of which one must be there with all that is said of it."
    )
    usb: tuple[USBDevice, ...] = Field((), max_length=32, description="Devices at USB, of which one must be there.")
    cpu_features: tuple[Annotated[str, Field(pattern=FEATURE_PATTERN, max_length=32)], ...] = Field(
        (),
        max_length=32,
        description="Features that the processor must have, every one, as /proc/cpuinfo names them: asimddp, say.",
        json_schema_extra={"x-member": "A name under flags or Features in /proc/cpuinfo."},
    )


class Hardware(Model):
    """What the device is. Of it, the memory and `detect` are used; the rest is for people."""

    soc: str | None = Field(None, description="System on chip: BCM2712, say.")
    memory: Size | None = Field(
        None,
        description=(
            "Memory as a Quantity or in bytes: 8Gi, say. EdgeModels that ask for more of it are refused, and so are "
            "models that are larger. It is part of the build key."
        ),
    )
    accelerator: str | None = Field(None, description="Accelerator, where there is one.")
    power: str | None = Field(None, description="Power envelope: 5-12W, say.")
    detect: Detect | None = Field(
        None,
        description=(
            "How a device of this class is told from others: each list that is given must be met, and the architecture "
            "with it. Without any list, the architecture alone. Absent: it cannot be told."
        ),
    )


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
            "Precisions to try, best first; of those that compile and pass every gate, a device chooses. Absent: the "
            "toolchain's own, without those that are impossible."
        ),
        json_schema_extra={"x-member": "A precision."},
    )
    options: Annotated[dict[str, str], Field(max_length=16)] = Field(
        default_factory=dict,
        description="What the toolchain is told, by name; docs/deviceprofile.md has what each can be told.",
        json_schema_extra={"x-member": "The option's value."},
    )
    compiler_image: str | None = Field(
        None,
        pattern=IMAGE_PATTERN,
        max_length=512,
        description=(
            "An image of your own with a compiler that is its vendor's and no part of the builder, by digest: "
            "REGISTRY/NAME@sha256:HEX. For EdgeTPU: one with edgetpu_compiler and a shell. It runs beside the builder, "
            "and not where the EdgeModel's spec.compiled has a file for the toolchain."
        ),
    )
    impossible: Annotated[dict[str, str], Field(max_length=len(PRECISIONS))] = Field(
        default_factory=dict,
        description=(
            "Precisions that this hardware cannot run, with why in a sentence; int8 stands for all kinds of it."
        ),
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


class Volume(Model):
    """A folder of the node that the server needs: a cache of compiled engines, or a driver's files, say."""

    name: str = Field(pattern=LABEL_PATTERN, max_length=63, description="Name of the volume; each once.")
    host_path: str = Field(
        pattern=FOLDER_PATTERN,
        max_length=512,
        description="The folder on the node, which must be there; the server's user is 65532.",
    )
    mount_path: str = Field(
        pattern=FOLDER_PATTERN,
        max_length=512,
        description="Where the server sees it; not /model or /tmp, and nothing below them.",
        json_schema_extra=rules(
            {"!self.matches('^/(model|tmp)(/|$)')": "must not be /model or /tmp, which are the server's own"}
        ),
    )
    read_only: bool = Field(default=False, description="True: the server may not write to it.")

    @field_validator("host_path", "mount_path")
    @classmethod
    def _is_folder(cls, value: str) -> str:
        if ".." in value.split("/"):
            raise ValueError("a path without .. was expected")
        return value


class Runtime(Model):
    """The server that runs on these devices."""

    server: ServerName = Field(
        "Edgesmith",
        description=(
            "The server that runs the model. Edgesmith: this project's own, with the engine of the toolchain. Triton: "
            "NVIDIA Triton."
        ),
    )
    base_image: str | None = Field(
        None,
        pattern=IMAGE_PATTERN,
        max_length=512,
        description=(
            "Base of every image for this class of hardware, by digest: REGISTRY/NAME@sha256:HEX. Absent: the "
            "installation's own for the engine (Helm value image.runtime)."
        ),
    )
    engine_version: str | None = Field(
        None,
        pattern=VERSION_PATTERN,
        max_length=16,
        description=(
            "Version of the ONNX Runtime in the base image: 1.23.2, say; of toolchains whose engine is onnxruntime. "
            "Models that are newer than it reads are written in an older form, or refused before any rollout. Absent: "
            "what the image says, as those of this project and of NVIDIA's Triton do. It is part of the build key."
        ),
    )
    runtime_class_name: str | None = Field(
        None, pattern=SUBDOMAIN_PATTERN, max_length=253, description="Name of the RuntimeClass of serving pods."
    )
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
    volumes: tuple[Volume, ...] = Field(
        (),
        max_length=8,
        description=(
            "Folders of the node that serving pods get. Namespaces under the Pod Security Standards baseline and "
            "restricted forbid them."
        ),
        json_schema_extra={
            "x-map-key": "name",
            **rules({"self.all(one, one.name != 'scratch')": "no volume may have the name scratch: it is taken"}),
        },
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
    hardware: Hardware = Field(Hardware(), description="What the device is.")
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

    @property
    def memory(self) -> int | None:
        """Bytes of the device's memory; None where the profile does not say."""
        said = self.spec.hardware.memory
        return None if said is None else parse_bytes(said)

    def allows(self, namespace: str) -> bool:
        """Whether EdgeModels of a namespace may use the profile."""
        allowed = self.spec.allowed_namespaces
        return allowed is None or EVERY_NAMESPACE in allowed or namespace in allowed
