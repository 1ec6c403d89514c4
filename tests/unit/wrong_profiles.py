"""DeviceProfiles with one thing wrong each, for whoever must refuse them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

NODE_LABEL = "plant.edgesmith.dev.node-restriction.kubernetes.io/parts"


def right(name: str = "mine") -> Object:
    """A profile that nothing is wrong with, and that says something of everything."""
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "DeviceProfile",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"edgesmith.dev/device": name},
            "allowedNamespaces": ["plant-7", "*"],
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
            "hardware": {
                "soc": "BCM2712",
                "memory": "8Gi",
                "detect": {
                    "deviceTree": ["raspberrypi,5-model-b"],
                    "pci": [{"vendor": "1ac1", "device": "089a", "class": "03"}],
                    "usb": [{"vendor": "18d1", "product": "9302"}],
                    "cpuFeatures": ["asimddp"],
                },
            },
            "toolchain": {
                "name": "ONNXRuntime",
                "precisions": ["fp32"],
                "options": {"reduceRange": "false"},
                "impossible": {"fp16": "no units"},
            },
            "runtime": {
                "server": "Edgesmith",
                "resources": {"limits": {"memory": "1Gi", "squat.ai/edgetpu": 1}},
                "volumes": [{"name": "cache", "hostPath": "/var/cache/a", "mountPath": "/cache", "readOnly": False}],
            },
        },
    }


def changed(path: str, value: Any) -> Object:
    """A right profile with another value at a dotted path, or without it where the value is None."""
    profile = right()
    place: Any = profile
    *parents, last = path.split("/")
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return profile


WRONG = [
    (
        "spec/platform/architecture",
        "riscv64",
        'spec.platform.architecture is "riscv64"; one of amd64, arm64 was expected',
    ),
    ("spec/platform", None, "spec.platform is absent; it is required"),
    ("spec", None, "spec is absent; it is required"),
    ("spec/nodeSelector", {}, "spec.nodeSelector is {}; at least 1 entry was expected"),
    ("spec/nodeSelector", {"a": True}, "spec.nodeSelector.a is true; a string was expected"),
    (
        "spec/nodeSelector",
        {NODE_LABEL: "x"},
        (
            f'spec.nodeSelector is {{"{NODE_LABEL}": "x"}}; it must have no label of '
            "NAMESPACE.edgesmith.dev.node-restriction.kubernetes.io/NAME: the operator sets and removes those"
        ),
    ),
    (
        "spec/allowedNamespaces",
        ["plant-7", "plant-7"],
        'spec.allowedNamespaces[1] is "plant-7"; each entry once was expected',
    ),
    ("spec/hardware/memory", "0", 'spec.hardware.memory is "0"; it must be 1 or more'),
    (
        "spec/hardware/memory",
        "1048577Ti",
        'spec.hardware.memory is "1048577Ti"; it must be 1048576Ti (1 EiB) or less',
    ),
    ("spec/hardware/memory", "8 GB", 'spec.hardware.memory is "8 GB"; a quantity such as 512Mi or 8G was expected'),
    ("spec/hardware/memory", True, "spec.hardware.memory is true; an integer or a string was expected"),
    (
        "spec/hardware/detect/pci/0/vendor",
        "0x1ac1",
        'spec.hardware.detect.pci[0].vendor is "0x1ac1"; text of four digits 0-9 and a-f was expected',
    ),
    ("spec/hardware/detect/pci/0/vendor", None, "spec.hardware.detect.pci[0].vendor is absent; it is required"),
    ("spec/hardware/detect/usb/0/product", 9302, "spec.hardware.detect.usb[0].product is 9302; a string was expected"),
    ("spec/hardware/detect/deviceTree", "a,b", 'spec.hardware.detect.deviceTree is "a,b"; an array was expected'),
    (
        "spec/toolchain/name",
        "TFLite",
        'spec.toolchain.name is "TFLite"; one of ONNXRuntime, OpenVINO, LiteRT, EdgeTPU, TensorRT, QNN was expected',
    ),
    (
        "spec/runtime/runtimeClassName",
        "NVIDIA",
        'spec.runtime.runtimeClassName is "NVIDIA"; a name of letters in lower case, digits, - and . was expected',
    ),
    ("spec/toolchain/precisions", [], "spec.toolchain.precisions is []; at least 1 entry was expected"),
    (
        "spec/toolchain/impossible",
        {"fp32": "no"},
        (
            'spec.toolchain is {"name": "ONNXRuntime", "precisions": ["fp32"], "options": {"reduceRange": "false"}, '
            '"impossible": {…; precisions must have none that impossible has'
        ),
    ),
    (
        "spec/toolchain/impossible",
        {"int4": "no"},
        (
            'spec.toolchain.impossible is {"int4": "no"}; it must have no other keys than int8, int8-mixed, '
            "int8-dynamic, fp16, fp32"
        ),
    ),
    ("spec/toolchain/options", {"a": 1}, "spec.toolchain.options.a is 1; a string was expected"),
    (
        "spec/runtime/volumes/0/mountPath",
        "/model/x",
        'spec.runtime.volumes[0].mountPath is "/model/x"; it must not be /model or /tmp, which are the server\'s own',
    ),
    (
        "spec/runtime/volumes/0/name",
        "scratch",
        (
            'spec.runtime.volumes is [{"name": "scratch", "hostPath": "/var/cache/a", "mountPath": "/cache", '
            '"readOnly": false}]; no volume may have the name scratch: it is taken'
        ),
    ),
    (
        "spec/runtime/volumes",
        [{"name": "a", "hostPath": "/a", "mountPath": "/b"}, {"name": "a", "hostPath": "/c", "mountPath": "/d"}],
        'spec.runtime.volumes[1] is {"name": "a", "hostPath": "/c", "mountPath": "/d"}; each name once was expected',
    ),
    ("spec/runtime/volumes/0/readOnly", 0, "spec.runtime.volumes[0].readOnly is 0; a boolean was expected"),
    (
        "spec/runtime/volumes/0/hostPath",
        "/var/../etc",
        "spec.runtime.volumes[0].hostPath is \"/var/../etc\"; an absolute path without '..' was expected",
    ),
    ("spec/runtime/baseImage", "runtime:1", 'spec.runtime.baseImage is "runtime:1"; an image by digest, REGISTRY/NAME'),
    ("metadata/name", "n" * 64, "metadata.name must have 63 characters at most: it is a label of what is built for it"),
    (
        "metadata/name",
        "My Box",
        "metadata.name is \"My Box\"; a name of small letters, digits, '-' and '.' was expected",
    ),
]
"""Path, value and what is said of it; the API server refuses every one of them too."""

UNKNOWN = [
    ("spec/toolchain/ladder", ["int8"], 'spec.toolchain.ladder is ["int8"]; no such field was expected, but '),
    ("spec/hardware/detect/dmi", {}, "spec.hardware.detect.dmi is {}; no such field was expected, but "),
]
"""Fields that the API server drops, or refuses where it is asked to be strict, as kubectl asks it to be."""

BEYOND = [
    (
        "spec/toolchain/options",
        {"reduceRange": "no"},
        "spec.toolchain.options.reduceRange is 'no'; true or false was expected",
    ),
    (
        "spec/toolchain/options",
        {"device": "GPU"},
        (
            "spec.toolchain.options has 'device'; one of activations, perChannel, reduceRange, weights was expected "
            "for ONNXRuntime"
        ),
    ),
    (
        "spec/toolchain/precisions",
        ["int8", "int8"],
        "spec.toolchain.precisions is int8, int8; each precision once was expected",
    ),
    (
        "spec/runtime/resources/limits",
        {"memory": "9Gi"},
        "spec.runtime.resources.limits.memory is 9Gi; at most 8Gi was expected, its spec.hardware.memory",
    ),
    ("metadata/labels", {"a": 1}, "metadata.labels.a is 1; Input should be a valid string"),
]
"""What only the operator and its toolchains know."""


def documents() -> Iterator[tuple[str, Object]]:
    """Each that the API server refuses, with its path."""
    for path, value, _ in WRONG:
        yield f"{path}={value!r}"[:60], changed(path, value)
