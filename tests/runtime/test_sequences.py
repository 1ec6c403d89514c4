"""Recurrent and text models from the file to the client: read, built, quantised, bundled, and served by the runtime."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc
import tritonclient.http
from candidates import built
from graphs import FLOAT, model_of, node, numbers
from sequences import encoder, recurrent, series, texts

from edgesmith_builder.dataset import read_npz
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from tests.runtime.conftest import Server, StartServer

LENGTH = 16
DATATYPES = {"i": "INT64", "f": "FP32", "U": "BYTES"}
LADDER = ("int8", "int8-mixed", "int8-dynamic", "fp32")


def unpacked(folder: Path, name: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """A set as a build gets it: written without pickled objects, and read back."""
    file = folder / f"{name}.npz"
    np.savez(file, allow_pickle=False, **arrays)
    (folder / name).mkdir()
    return read_npz(file, field=name, folder=folder / name)


def served(folder: Path, kind: str) -> tuple[Path, dict[str, Any], Any]:
    """A network of a kind, built; the bundle of its dynamic form, fresh samples, and their labels."""
    if kind in ("tokens", "words"):
        data = [texts(count, LENGTH, seed, words=kind == "words") for count, seed in ((300, 1), (24, 2), (120, 3))]
        net = encoder(words=kind == "words")
    else:
        data = [series(count, LENGTH, seed) for count, seed in ((300, 1), (24, 2), (120, 3))]
        net = recurrent(kind, 96)
    taught, labels = data[0]
    fed = {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in taught.items()}
    calibration = unpacked(folder, "calibration", data[1][0])
    evaluation = unpacked(folder, "evaluation", {**data[2][0], "labels": data[2][1]})
    outcome = built(folder, net.taught(fed, labels), calibration, evaluation, precisions=LADDER)
    passed = [one.candidate.precision for one in outcome.finalists]
    assert passed[-2:] == ["int8-dynamic", "fp32"], [(one.precision, one.rejected) for one in outcome.candidates]
    return folder / "work" / "int8-dynamic" / "bundle", data[2][0], data[2][1]


@pytest.fixture(scope="module", params=["LSTM", "GRU", "tokens", "words"])
def server(request: Any, start_module_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of each kind, with samples and their labels."""
    folder = tmp_path_factory.mktemp("sequences")
    bundle, samples, labels = served(folder, request.param)
    return start_module_server(bundle, "--name", "case"), samples, labels


def connect(library: Any, server: Server) -> Any:
    port = server.http if library is tritonclient.http else server.grpc
    return closing(library.InferenceServerClient(f"127.0.0.1:{port}"))


def asked(library: Any, client: Any, samples: dict[str, Any]) -> Any:
    inputs = []
    for name, array in samples.items():
        one = library.InferInput(name, list(array.shape), DATATYPES[array.dtype.kind])
        one.set_data_from_numpy(array.astype(object) if array.dtype.kind == "U" else array)
        inputs.append(one)
    return client.infer("case", inputs).as_numpy("probabilities")


@pytest.mark.parametrize("library", [tritonclient.http, tritonclient.grpc], ids=["http", "grpc"])
def test_clients_are_answered_whatever_the_length(library: Any, server: Any) -> None:
    running, samples, labels = server
    with connect(library, running) as client:
        said = np.concatenate([asked(library, client, _some(samples, slice(i, i + 1))) for i in range(60)])
        assert (said.argmax(1) == labels[:60]).mean() > 0.5
        # The axis along the sequence is open, and so is the batch.
        for length in (1, LENGTH // 2, LENGTH):
            short = {name: array[:3, :length] for name, array in samples.items()}
            assert asked(library, client, short).shape == (3, 4)


def test_json_is_answered_as_bytes_are(server: Any) -> None:
    running, samples, _ = server
    one = _some(samples, slice(0, 2))
    inputs: list[dict[str, Any]] = [
        {"name": name, "shape": list(array.shape), "datatype": DATATYPES[array.dtype.kind], "data": array.tolist()}
        for name, array in one.items()
    ]
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.http}/v2/models/case/infer", json.dumps({"inputs": inputs}).encode()
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - an address of our own
        found = json.load(answer)["outputs"][0]
    assert found["shape"] == [2, 4]
    with connect(tritonclient.http, running) as client:
        assert np.allclose(np.reshape(found["data"], (2, 4)), asked(tritonclient.http, client, one), atol=1e-6)


def _some(samples: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {name: array[rows] for name, array in samples.items()}


# Other kinds of inputs ------------------------------------------------------------------------------------------------


WORDS = [f"word{number}" for number in range(40)]


def text_model() -> onnx.ModelProto:
    """Words in any case, as many as there are: made lower case, and counted."""
    nodes = [
        node("StringNormalizer", ["words"], ["low"], case_change_action="LOWER", locale="C", name="lower"),
        node("TfIdfVectorizer", ["low"], ["counts"], mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0,
             ngram_counts=[0], ngram_indexes=list(range(40)), pool_strings=WORDS),
        node("MatMul", ["counts", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"]),
    ]  # fmt: skip
    return model_of(nodes, [("words", onnx.TensorProto.STRING, [1, "length"])], [("y", FLOAT, None)],
                    {"w": numbers(40, 256), "v": numbers(256, 8)})  # fmt: skip


def test_a_model_that_counts_words_itself(start_server: StartServer, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    said = np.array([[WORDS[n].upper() for n in row] for row in rng.integers(0, 40, (40, 12))])
    calibration = unpacked(tmp_path, "calibration", {"words": said})
    outcome = built(tmp_path, text_model(), calibration, None, precisions=LADDER)
    assert [one.candidate.precision for one in outcome.finalists] == ["int8", "fp32"]
    running = start_server(tmp_path / "work" / "int8" / "bundle", "--name", "case")
    with connect(tritonclient.grpc, running) as client:
        inputs = tritonclient.grpc.InferInput("words", [1, 3], "BYTES")
        inputs.set_data_from_numpy(np.array([[WORDS[3].upper(), WORDS[4], "nobody"]], object))
        assert client.infer("case", [inputs]).as_numpy("y").shape[-1] == 8


def stateful() -> onnx.ModelProto:
    """A step of a recurrence whose state goes in and out, with a sampling rate without an axis, as Silero's VAD has."""
    nodes = [
        node("Cast", ["rate"], ["hertz"], to=FLOAT),
        node("Div", ["hertz", "usual"], ["faster"]),
        node("Mul", ["sound", "faster"], ["scaled"]),
        node("Unsqueeze", ["scaled", "first"], ["step"]),
        node("LSTM", ["step", "w", "r", "b", "", "h", "c"], ["", "h1", "c1"], hidden_size=48),
        node("Squeeze", ["h1", "first"], ["last"]),
        node("MatMul", ["last", "v"], ["score"]),
        node("Sigmoid", ["score"], ["speech"]),
    ]
    weights = {"w": numbers(1, 192, 64) / 8, "r": numbers(1, 192, 48) / 7, "b": numbers(1, 384) / 10,
               "v": numbers(48, 1), "first": np.array([0]), "usual": np.array(16000, np.float32)}  # fmt: skip
    state = [1, "N", 48]
    return model_of(
        nodes,
        [("sound", FLOAT, ["N", 64]), ("h", FLOAT, state), ("c", FLOAT, state), ("rate", onnx.TensorProto.INT64, [])],
        [("speech", FLOAT, ["N", 1]), ("h1", FLOAT, state), ("c1", FLOAT, state)],
        weights,
    )


def test_a_recurrence_whose_state_goes_in_and_out(start_server: StartServer, tmp_path: Path) -> None:
    count = 30
    arrays: dict[str, Any] = {name: numbers(count, 1, 1, 48) / 4 for name in ("h", "c")}
    arrays |= {"sound": numbers(count, 64), "rate": np.full(count, 16000)}
    calibration = unpacked(tmp_path, "calibration", arrays)
    outcome = built(tmp_path, stateful(), calibration, None, precisions=LADDER)
    assert [one.candidate.precision for one in outcome.finalists] == ["int8-dynamic", "fp32"]
    running = start_server(tmp_path / "work" / "int8-dynamic" / "bundle", "--name", "case")
    with connect(tritonclient.grpc, running) as client:
        inputs = []
        for name, array in {"sound": arrays["sound"][:1], "h": arrays["h"][0], "c": arrays["c"][0]}.items():
            one = tritonclient.grpc.InferInput(name, list(array.shape), "FP32")
            one.set_data_from_numpy(array)
            inputs.append(one)
        rate = tritonclient.grpc.InferInput("rate", [], "INT64")
        rate.set_data_from_numpy(np.array(16000))
        answer = client.infer("case", [*inputs, rate])
        assert answer.as_numpy("h1").shape == (1, 1, 48)
        assert 0 < float(answer.as_numpy("speech").item()) < 1
