#!/usr/bin/env python3
"""Remakes the predictive maintenance example: a pump's sensors in three states, and four models that tell them apart.

``python3 examples/predictive-maintenance/pump.py`` writes into its own folder, ``--data-only`` leaves the models
alone, ``--out FOLDER`` writes somewhere else.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # started by its path, a script sees its own folder only

from examples._training.arrays import write_npz
from examples._training.command import remake

HERE = Path(__file__).resolve().parent
STATES = ("healthy", "worn", "clogged")
STEPS, SENSORS = 16, 3
"""A window is so many readings of vibration (mm/s), temperature (°C) and current (A)."""
TRAINING, CALIBRATION, EVALUATION = 600, 60, 300
HIDDEN = 24

Floats = npt.NDArray[np.float32]
_SEED = 11


def windows(count: int, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Windows of a pump, one after the other in a row of numbers.

    A worn bearing knocks now and then; a clogged inlet warms the pump and has the current swing.

    Returns:
        Readings, shape (count, STEPS * SENSORS), and the state of the pump in each, shape (count,).
    """
    rng = np.random.default_rng(seed)
    states = rng.integers(0, len(STATES), count)
    time = np.arange(STEPS)
    found = np.empty((count, STEPS, SENSORS))
    for number, state in enumerate(states):
        strength = rng.uniform(0.4, 1.0)
        vibration = 1.5 + 0.3 * rng.normal(size=STEPS)
        temperature = rng.normal(55, 4) + 0.3 * rng.normal(size=STEPS)
        current = rng.normal(8, 0.4) + 0.15 * rng.normal(size=STEPS)
        if state == 1:
            vibration += strength * 2.5 * ((time + rng.integers(0, 5)) % 5 == 0)
        if state == 2:
            temperature += strength * 0.3 * time
            current += strength * np.sin(time * 0.8 + rng.uniform(0, 6))
        found[number] = np.stack([vibration, temperature, current], axis=1)
    return found.reshape(count, -1).astype(np.float32), states


def write_sets(folder: Path) -> None:
    """Writes ``calibration.npz`` and ``evaluation.npz``; all four models share them."""
    write_npz(folder / "calibration.npz", {"window": windows(CALIBRATION, _SEED + 1)[0]})
    readings, states = windows(EVALUATION, _SEED + 2)
    write_npz(folder / "evaluation.npz", {"window": readings, "labels": states})


def train(folder: Path) -> None:
    """Trains and writes ``knn.skops``, ``svm.skops``, ``forest.skops`` and ``gru.onnx``."""
    import skops.io  # noqa: PLC0415 - data need none of these
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415
    from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    from sklearn.svm import SVC  # noqa: PLC0415

    readings, states = windows(TRAINING, _SEED)
    estimators = {
        "knn": make_pipeline(StandardScaler(), KNeighborsClassifier(7, algorithm="brute")),
        # Calibrated, it answers probabilities as the others do, in place of its own scores.
        "svm": make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(C=3.0), ensemble=False)),
        "forest": RandomForestClassifier(40, max_depth=8, random_state=_SEED),
    }
    for name, estimator in estimators.items():
        estimator.fit(readings, states)
        skops.io.dump(estimator, folder / f"{name}.skops", compression=zipfile.ZIP_DEFLATED, compresslevel=9)
    write_gru(folder / "gru.onnx", readings, states)


def write_gru(path: Path, readings: Floats, states: npt.NDArray[np.int64]) -> None:
    """Writes a recurrent network: random recurrent weights that stay as they are, and a trained last layer.

    A recurrent net of random weights keeps enough of what it has read for one layer to tell states apart (echo state
    networks: Jaeger, GMD Report 148, 2001), and needs no gradient through time.
    """
    import onnx  # noqa: PLC0415 - data need none of these
    import onnxruntime  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    rng = np.random.default_rng(_SEED)
    table = readings.reshape(-1, SENSORS)
    weights = {
        "mean": table.mean(0),
        "scale": 1 / table.std(0),
        "steps": np.array([-1, STEPS, SENSORS], np.int64),
        "w": rng.normal(size=(1, 3 * HIDDEN, SENSORS)),
        "r": rng.normal(size=(1, 3 * HIDDEN, HIDDEN)) / np.sqrt(HIDDEN),
        "direction": np.array([0], np.int64),
        "dense": np.zeros((HIDDEN, len(STATES))),
        "offset": np.zeros(len(STATES)),
    }
    nodes = [
        helper.make_node("Reshape", ["window", "steps"], ["readings"]),
        helper.make_node("Sub", ["readings", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["sequence", "w", "r"], ["", "last"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["last", "direction"], ["state"]),
        helper.make_node("Gemm", ["state", "dense", "offset"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    ]
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", HIDDEN])
    # As the estimators of scikit-learn answer, so that one can stand in for the other.
    answers = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(STATES)]),
    ]

    def model(outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        stored = [
            numpy_helper.from_array(value if value.dtype == np.int64 else value.astype(np.float32), name)
            for name, value in weights.items()
        ]
        inputs = [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", STEPS * SENSORS])]
        graph = helper.make_graph(nodes, "pump", inputs, outputs, stored)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(made, {"example": "predictive-maintenance"})
        return made

    session = onnxruntime.InferenceSession(model([state]).SerializeToString())
    weights["dense"], weights["offset"] = last_layer(session.run(["state"], {"window": readings})[0], states)
    path.write_bytes(model(answers).SerializeToString(deterministic=True))


def last_layer(state: Floats, states: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Multinomial logistic regression by gradient descent."""
    inputs = np.hstack([state.astype(np.float64), np.ones((len(state), 1))])
    wanted, weight = np.eye(len(STATES))[states], np.zeros((inputs.shape[1], len(STATES)))
    for _ in range(20_000):
        scores = inputs @ weight
        probabilities = np.exp(scores - scores.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        weight -= 1.0 * (inputs.T @ (probabilities - wanted) / len(inputs) + 1e-5 * weight)
    return weight[:-1], weight[-1]


if __name__ == "__main__":
    remake("predictive maintenance", HERE, write_sets=write_sets, train=train)
