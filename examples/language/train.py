#!/usr/bin/env python3
"""Remakes the language example: tickets, and a classifier that says what is wrong with the machine.

``python3 examples/language/train.py`` writes into its own folder, ``--data-only`` leaves the model alone,
``--out FOLDER`` writes somewhere else.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # started by its path, a script sees its own folder only

from examples._training.arrays import write_npz
from examples._training.command import remake
from examples.language.tickets import FAULTS, Strings, make_set

HERE = Path(__file__).resolve().parent
TRAINING, CALIBRATION, EVALUATION = 4000, 100, 1000
RAREST = 4
"""Words and pairs of words that occur in fewer tickets say nothing."""
PENALTY = 1e-3
GRID = 2**-9
"""What weights are rounded to. The optimum is found to some 1e-12, so every processor rounds to the same."""

Floats = npt.NDArray[np.float64]


def write_sets(folder: Path) -> None:
    """Writes ``calibration.npz``, ``evaluation.npz`` and ``labels.txt``."""
    write_npz(folder / "calibration.npz", {"text": make_set("calibration", CALIBRATION)[0]})
    texts, labels = make_set("evaluation", EVALUATION)
    write_npz(folder / "evaluation.npz", {"text": texts, "labels": labels})
    (folder / "labels.txt").write_text("".join(f"{fault}\n" for fault in FAULTS), encoding="utf-8")


def train(folder: Path) -> None:
    """Learns from `TRAINING` tickets and writes ``model.onnx``."""
    texts, labels = make_set("training", TRAINING)
    terms = vocabulary(texts)
    weights = fitted(counts(texts, terms), np.eye(len(FAULTS))[labels])
    write_model(folder / "model.onnx", terms, np.round(weights / GRID) * GRID)


def terms_of(text: str) -> list[str]:
    """A ticket's words in small letters, and its pairs of neighbouring words, each with a space between."""
    words = text.lower().split()
    return [*words, *(" ".join(pair) for pair in pairwise(words))]


def vocabulary(texts: Strings) -> list[str]:
    """The terms of `RAREST` tickets and more: words first, then pairs."""
    seen = Counter(term for text in texts.tolist() for term in set(terms_of(text)))
    return sorted((term for term, count in seen.items() if count >= RAREST), key=lambda term: (" " in term, term))


def counts(texts: Strings, terms: Sequence[str]) -> Any:
    """How often each ticket has each term, shape (tickets, terms + 1) with a last column of ones, sparse."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - data need none of it

    place = {term: number for number, term in enumerate(terms)}
    found = [(row, place[term]) for row, text in enumerate(texts.tolist()) for term in terms_of(text) if term in place]
    found += [(row, len(terms)) for row in range(len(texts))]
    rows, columns = zip(*found, strict=True)
    return csr_matrix((np.ones(len(found)), (rows, columns)), shape=(len(texts), len(terms) + 1))


def fitted(inputs: Any, wanted: Floats) -> Floats:
    """Multinomial logistic regression with a penalty on the squares of the weights.

    The problem is convex and has one optimum: L-BFGS comes near, Newton's method to the last bits (Nocedal and Wright,
    Numerical Optimization, 2006, chapter 7).

    Args:
        inputs: Shape (tickets, terms + 1).
        wanted: One at the fault of each ticket, shape (tickets, faults).

    Returns:
        Weights, shape (terms + 1, faults).

    Raises:
        RuntimeError: The optimum was not reached.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - data need none of it
    from scipy.sparse.linalg import LinearOperator, cg  # noqa: PLC0415

    shape = (inputs.shape[1], wanted.shape[1])

    def probabilities(weights: Floats) -> tuple[Floats, Floats]:
        scores = inputs @ weights.reshape(shape)
        scores -= scores.max(1, keepdims=True)
        sums = np.exp(scores).sum(1, keepdims=True)
        return np.exp(scores) / sums, scores - np.log(sums)

    def loss(weights: Floats) -> tuple[float, Floats]:
        share, logarithm = probabilities(weights)
        value = -(wanted * logarithm).sum() / len(wanted) + PENALTY / 2 * (weights**2).sum()
        return float(value), (inputs.T @ (share - wanted)).ravel() / len(wanted) + PENALTY * weights

    def curved(share: Floats, step: Floats) -> Floats:
        change = share * (inputs @ step.reshape(shape))
        change -= share * change.sum(1, keepdims=True)
        return np.asarray((inputs.T @ change).ravel() / len(wanted) + PENALTY * step)

    weights = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B").x
    for _ in range(20):
        gradient = loss(weights)[1]
        if np.abs(gradient).max() < 1e-14:
            return np.asarray(weights.reshape(shape))
        share = probabilities(weights)[0]
        hessian = LinearOperator((weights.size, weights.size), lambda step, share=share: curved(share, step))
        weights = weights - cg(hessian, gradient, rtol=1e-9)[0]
    raise RuntimeError(f"the gradient is {np.abs(gradient).max()} after 20 steps, expected less than 1e-14")


def write_model(path: Path, terms: Sequence[str], weights: Floats) -> None:
    """Writes the classifier: from strings to probabilities, in standard operators alone.

    Args:
        path: The file to write.
        terms: Words, then pairs of words.
        weights: Shape (terms + 1, faults); the last row is added whatever the ticket says.
    """
    import onnx  # noqa: PLC0415 - data need none of these
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    words = sum(" " not in term for term in terms)
    nodes = [
        # The locale C is on every machine; without another one a model does not load, and small images have no other.
        helper.make_node("StringNormalizer", ["text"], ["small"], case_change_action="LOWER", locale="C"),
        helper.make_node("StringSplit", ["small"], ["words", "number"]),
        helper.make_node(
            "TfIdfVectorizer",
            ["words"],
            ["counts"],
            mode="TF",
            min_gram_length=1,
            max_gram_length=2,
            max_skip_count=0,
            ngram_counts=[0, words],
            ngram_indexes=list(range(len(terms))),
            pool_strings=[word for term in terms for word in term.split(" ")],
        ),
        helper.make_node("Gemm", ["counts", "weights", "offset"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    stored = [
        numpy_helper.from_array(weights[:-1].astype(np.float32), "weights"),
        numpy_helper.from_array(weights[-1].astype(np.float32), "offset"),
    ]
    inputs = [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(FAULTS)])]
    graph = helper.make_graph(nodes, "tickets", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {"example": "language", "labels": json.dumps(FAULTS)})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    remake("language", HERE, write_sets=write_sets, train=train)
