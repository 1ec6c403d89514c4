"""Small networks over sequences, for tests and the bench: recurrences, an encoder of tokens, words as text.

The weights are random and stay as they are; the last layer is fitted by least squares, so that what a network says is
worth something (echo state networks: Jaeger, GMD Report 148, 2001). Sequences may have any length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from graphs import FLOAT, model_of, node
from numpy.typing import NDArray
from onnx import TensorProto

FEATURES, CLASSES = 6, 4
WORDS = 240
"""Tokens from 1; 0 fills up."""
GATES = {"LSTM": 4, "GRU": 3}

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """Nodes from inputs to `state` [N, units], and the constants that they read."""

    inputs: tuple[tuple[str, int, Any], ...]
    nodes: tuple[onnx.NodeProto, ...]
    weights: Mapping[str, NDArray[Any]]
    units: int
    domains: tuple[tuple[str, int], ...] = ()

    def taught(self, samples: Arrays, labels: NDArray[np.int64]) -> onnx.ModelProto:
        """The network with a last layer that answers `probabilities` [N, CLASSES]."""
        states = model_of(
            self.nodes, self.inputs, [("state", FLOAT, ["N", self.units])], self.weights, domains=self.domains
        )
        session: Any = ort.InferenceSession(states.SerializeToString(), providers=["CPUExecutionProvider"])
        state = np.concatenate(
            [
                session.run(None, {name: array[index : index + 1] for name, array in samples.items()})[0]
                for index in range(len(labels))
            ]
        ).astype(np.float64)
        rows = np.hstack([state, np.ones((len(state), 1))])
        wanted = np.eye(CLASSES)[labels] * 6 - 3
        fitted = np.linalg.solve(rows.T @ rows + 0.1 * np.eye(self.units + 1), rows.T @ wanted).astype(np.float32)
        last = [
            node("Gemm", ["state", "last", "offset"], ["scores"], name="last"),
            node("Softmax", ["scores"], ["probabilities"], axis=1, name="softmax"),
        ]
        return model_of(
            [*self.nodes, *last],
            self.inputs,
            [("probabilities", FLOAT, ["N", CLASSES])],
            {**self.weights, "last": fitted[:-1], "offset": fitted[-1]},
            domains=self.domains,
        )


def recurrent(kind: str, units: int = 64, *, both: bool = False, seed: int = 3) -> Network:
    """An LSTM or GRU over `x` [N, steps, FEATURES] whose last state counts; in both directions where asked."""
    rng, gates, ways = np.random.default_rng(seed), GATES[kind] * units, 2 if both else 1
    weights = {
        "w": rng.normal(size=(ways, gates, FEATURES)) / math.sqrt(FEATURES),
        "r": rng.normal(size=(ways, gates, units)) / math.sqrt(units),
        "b": rng.normal(size=(ways, 2 * gates)) / 10,
    }
    nodes = (
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node(kind, ["steps", "w", "r", "b"], ["", "h"], hidden_size=units, name="recurrence",
             direction="bidirectional" if both else "forward"),
        node("Transpose", ["h"], ["turned"], perm=[1, 0, 2]),
        node("Reshape", ["turned", "flat"], ["state"]),
    )  # fmt: skip
    constants: Arrays = {name: array.astype(np.float32) for name, array in weights.items()}
    constants["flat"] = np.array([0, ways * units])
    return Network((("x", FLOAT, ["N", "steps", FEATURES]),), nodes, constants, ways * units)


def series(count: int, steps: int, seed: int) -> tuple[Arrays, NDArray[np.int64]]:
    """Series of one of CLASSES kinds: each has its own period in its own features."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    time = np.arange(steps)[None, :, None]
    phase = rng.uniform(0, 2 * math.pi, (count, 1, 1))
    wave = np.sin(time * (0.4 + 0.35 * labels[:, None, None]) + phase + np.arange(FEATURES)[None, None])
    return {"x": (wave + 0.4 * rng.normal(size=wave.shape)).astype(np.float32)}, labels


def encoder(width: int = 64, heads: int = 4, *, words: bool = False, seed: int = 5) -> Network:
    """One block of a transformer over `tokens` and `mask` [N, length], both INT64; or `words` as text."""
    rng, size = np.random.default_rng(seed), width // heads
    shapes = {"wq": (width, width), "wk": (width, width), "wv": (width, width), "wo": (width, width),
              "w1": (width, 2 * width), "w2": (2 * width, width)}  # fmt: skip
    weights: Arrays = {name: (rng.normal(size=s) / math.sqrt(s[0])).astype(np.float32) for name, s in shapes.items()}
    weights |= {
        "table": rng.normal(size=(WORDS, width)).astype(np.float32),
        "split": np.array([0, 0, heads, size]),
        "joined": np.array([0, 0, width]),
        "root": np.array(math.sqrt(size), np.float32),
        "one": np.array(1, np.float32),
        "far": np.array(-1e4, np.float32),
        "axes": np.array([1, 2]),
        "last_axis": np.array([2]),
        "one_axis": np.array([1]),
        "scale": np.ones(width, np.float32),
        "shift": np.zeros(width, np.float32),
    }
    inputs: list[tuple[str, int, Any]] = [("mask", TensorProto.INT64, ["N", "length"])]
    first = []
    if words:
        inputs.insert(0, ("words", TensorProto.STRING, ["N", "length"]))
        known = [word(number) for number in range(1, WORDS)]
        first.append(node("LabelEncoder", ["words"], ["tokens"], domain="ai.onnx.ml", name="vocabulary",
                          keys_strings=known, values_int64s=list(range(1, WORDS)), default_int64=0))  # fmt: skip
    else:
        inputs.insert(0, ("tokens", TensorProto.INT64, ["N", "length"]))
    nodes = (*first, *_attention(), *_rest())
    return Network(tuple(inputs), nodes, weights, width, (("ai.onnx.ml", 3),) if words else ())


def _attention() -> list[onnx.NodeProto]:
    parts = [
        step
        for name, turn in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))
        for step in (
            node("MatMul", ["read", f"w{name}"], [f"{name}0"], name=name),
            node("Reshape", [f"{name}0", "split"], [f"{name}1"]),
            node("Transpose", [f"{name}1"], [f"{name}2"], perm=turn),
        )
    ]
    return [
        node("Gather", ["table", "tokens"], ["read"], name="embedding"),
        node("Cast", ["mask"], ["seen"], to=FLOAT),
        node("Sub", ["one", "seen"], ["unseen"]),
        node("Mul", ["unseen", "far"], ["hidden"]),
        node("Unsqueeze", ["hidden", "axes"], ["apart"]),
        *parts,
        node("MatMul", ["q2", "k2"], ["products"], name="products"),
        node("Div", ["products", "root"], ["scaled"]),
        node("Add", ["scaled", "apart"], ["masked"]),
        node("Softmax", ["masked"], ["shares"], axis=3),
        node("MatMul", ["shares", "v2"], ["mixed"], name="mixed"),
        node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
        node("Reshape", ["back", "joined"], ["heads"]),
        node("MatMul", ["heads", "wo"], ["told"], name="out"),
        node("Add", ["read", "told"], ["summed"]),
    ]


def _rest() -> list[onnx.NodeProto]:
    return [
        node("LayerNormalization", ["summed", "scale", "shift"], ["norm"], axis=-1),
        node("MatMul", ["norm", "w1"], ["wide"], name="up"),
        node("Relu", ["wide"], ["active"]),
        node("MatMul", ["active", "w2"], ["narrow"], name="down"),
        node("Add", ["norm", "narrow"], ["block"]),
        node("Unsqueeze", ["seen", "last_axis"], ["weights"]),
        node("Mul", ["block", "weights"], ["counted"]),
        node("ReduceSum", ["counted", "one_axis"], ["sums"], keepdims=0),
        node("ReduceSum", ["weights", "one_axis"], ["counts"], keepdims=0),
        node("Div", ["sums", "counts"], ["state"]),
    ]


def word(number: int) -> str:
    """A token as text; not all of it is ASCII."""
    return f"wört{number}"


def texts(count: int, length: int, seed: int, *, words: bool = False) -> tuple[Arrays, NDArray[np.int64]]:
    """Texts of one of CLASSES kinds, each of which likes other tokens, filled up to a length; and their kinds."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    tokens = np.zeros((count, length), np.int64)
    mask = np.zeros((count, length), np.int64)
    for row, label in enumerate(labels):
        used = int(rng.integers(length // 2, length + 1))
        own = rng.random(used) < 0.3  # say what the text is about
        common = rng.integers(1, WORDS, used)
        tokens[row, :used] = np.where(own, 1 + label * 20 + rng.integers(0, 20, used), common)
        mask[row, :used] = 1
    if not words:
        return {"tokens": tokens, "mask": mask}, labels
    said = np.array([[word(int(number)) if number else "" for number in row] for row in tokens])
    return {"words": said, "mask": mask}, labels


def bytes_of(values: Sequence[str]) -> list[bytes]:
    """Text as clients send it."""
    return [value.encode() for value in values]
