"""MobileNetV2 as its publisher quantised it, and compiled for an Edge TPU, as an EdgeModel's spec has them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from bad_input import npz
from published import edge_tpu_mobilenet, grace_hopper, imagenet, mobilenet

from edgesmith_stage.fleet import Fleet
from edgesmith_stage.predict import Protocol, predict

UNIFORM = "military uniform"
"""What the file's publisher says that Grace Hopper's photograph shows."""
_DESCRIPTION = b"TOCO Converted."
"""What the file says of itself; nothing reads it."""


def numbered(number: int) -> bytes:
    """The file of 8 bits; another number is another file with the same weights."""
    content = mobilenet().read_bytes()
    assert content.count(_DESCRIPTION) == 1
    return content.replace(_DESCRIPTION, b"%015d" % number) if number else content


def mobilenet_spec(fleet: Fleet, number: int = 0, *, compiled: bool) -> dict[str, Any]:
    """The spec of an EdgeModel that has to know the photograph.

    Args:
        fleet: Whose bucket the files are put into.
        number: See `numbered`.
        compiled: Whether the file for an Edge TPU is beside the source.
    """
    (uniform,) = (number for number, name in imagenet().items() if name == UNIFORM)
    evaluation = npz(input=grace_hopper(), labels=np.array([uniform]))
    found: dict[str, Any] = {
        "source": fleet.publish_bytes(f"mobilenet-{number}", numbered(number), "tflite"),
        "calibration": None,
        "evaluation": {
            "uri": fleet.publish_set("mobilenet", evaluation),
            "sha256": hashlib.sha256(evaluation).hexdigest(),
            "metric": "Accuracy",
        },
        "picture": None,
        "gates": {"minAccuracy": "100%"},
    }
    if compiled:
        file = fleet.publish_bytes("mobilenet-compiled", edge_tpu_mobilenet().read_bytes(), "tflite")
        del file["secretRef"]
        found["compiled"] = [{"toolchain": "EdgeTPU", **file}]
    return found


def said_of_hopper(fleet: Fleet, name: str, node: str) -> Iterator[npt.NDArray[Any]]:
    """What a node answers to the photograph, over each protocol."""
    server = fleet.servers(name)[node]
    for protocol in get_args(Protocol):
        yield predict(
            fleet.ground.kube,
            server,
            model=name,
            inputs={"input": grace_hopper()},
            protocol=protocol,
            namespace=fleet.namespace,
        )
