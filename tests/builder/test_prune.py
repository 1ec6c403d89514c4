"""Structured pruning: which channels go, and what the network answers without them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import FLOAT, model_of, node
from numpy.typing import NDArray
from onnx import numpy_helper

from edgesmith_builder.dataset import Samples
from edgesmith_builder.format import read_source, shaped_source
from edgesmith_builder.prune import Pruned, PruningFailed, prune, refusal
from edgesmith_builder.prune.surgeon import Surgeon, inverted
from edgesmith_runtime.engine import load_engine

EXAMPLES = Path(__file__).parents[2] / "examples"
SIDE, CLASSES = 6, 5
RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.normal(size=(12, 3, SIDE, SIDE)).astype(np.float32)
Weights = dict[str, NDArray[np.float32]]
Case = tuple[list[onnx.NodeProto], Weights]


def weights(**shapes: tuple[int, ...]) -> Weights:
    random = np.random.default_rng(5)
    return {name: random.normal(0, 0.5, size=shape).astype(np.float32) for name, shape in shapes.items()}


def silence(given: Weights, channels: list[int], *names: str, axis: int = 0) -> Weights:
    """Set what makes some channels to zero."""
    for name in names:
        np.moveaxis(given[name], axis, 0)[channels] = 0
    return given


def plain() -> Case:
    """Two convolutions, a depthwise one between them, and a dense layer."""
    given = weights(a=(32, 3, 3, 3), ab=(32,), d=(32, 1, 3, 3), db=(32,), c=(16, 32, 1, 1), cb=(16,), g=(16, CLASSES))
    nodes = [
        node("Conv", ["image", "a", "ab"], ["x1"], pads=[1] * 4),
        node("Relu", ["x1"], ["x2"]),
        node("Conv", ["x2", "d", "db"], ["x3"], group=32, pads=[1] * 4),
        node("Clip", ["x3", "zero", "six"], ["x4"]),
        node("Conv", ["x4", "c", "cb"], ["x5"]),
        node("GlobalAveragePool", ["x5"], ["x6"]),
        node("Flatten", ["x6"], ["x7"]),
        node("Gemm", ["x7", "g"], ["scores"]),
    ]
    limits = {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    return nodes, silence(given, list(range(4, 20)), "a", "ab", "d", "db") | limits


def residual() -> Case:
    """What is added keeps its channels together, and so does what is made of the sum."""
    given = weights(
        a=(32, 3, 3, 3), b=(32, 32, 3, 3), bb=(32,), c=(16, 32, 3, 3), g=(16 * 4 * 4, CLASSES), gb=(CLASSES,)
    )
    nodes = [
        node("Conv", ["image", "a"], ["x1"], pads=[1] * 4),
        node("Conv", ["x1", "b", "bb"], ["x2"], pads=[1] * 4),
        node("Add", ["x1", "x2"], ["x3"]),
        node("Relu", ["x3"], ["x4"]),
        node("Conv", ["x4", "c"], ["x5"]),
        node("Flatten", ["x5"], ["x6"]),
        node("Flatten", ["x6"], ["x7"]),
        node("Gemm", ["x7", "g", "gb"], ["scores"]),
    ]
    return nodes, silence(given, list(range(16)), "a", "b", "bb")


def joined() -> Case:
    """Channels behind one another, a batch normalisation that no convolution takes in, and a reshape."""
    given = weights(a=(16, 3, 3, 3), b=(16, 3, 1, 1), s=(32,), t=(32,), m=(32,), c=(8, 32, 3, 3), g=(8 * 36, CLASSES))
    nodes = [
        node("Conv", ["image", "a"], ["x1"], pads=[1] * 4),
        node("Conv", ["image", "b"], ["x2"]),
        node("Concat", ["x1", "x2"], ["x3"], axis=1),
        node("BatchNormalization", ["x3", "s", "t", "m", "v"], ["x4"]),
        node("Conv", ["x4", "c"], ["x5"], pads=[1] * 4),
        node("Reshape", ["x5", "shape"], ["x6"]),
        node("MatMul", ["x6", "g"], ["scores"]),
    ]
    more = {"v": np.ones(32, np.float32), "shape": np.array([1, -1])}
    silenced = silence(silence(given, list(range(8, 16)), "a"), list(range(8, 16)), "t", "m")
    return nodes, silenced | more


def dense() -> Case:
    """Three dense layers, two of them by MatMul over the last axis of three."""
    given = weights(a=(SIDE, 64), ab=(64,), b=(64, 32), c=(32 * 18, CLASSES))
    nodes = [
        node("Reshape", ["image", "rows"], ["x0"]),
        node("MatMul", ["x0", "a"], ["x1"]),
        node("Add", ["x1", "ab"], ["x2"]),
        node("Gelu", ["x2"], ["x3"]),
        node("MatMul", ["x3", "b"], ["x4"]),
        node("Flatten", ["x4"], ["x5"]),
        node("MatMul", ["x5", "c"], ["scores"]),
    ]
    return nodes, silence(silence(given, list(range(16)), "a", axis=1), list(range(16)), "ab") | {
        "rows": np.array([1, 18, SIDE])
    }


CASES: Mapping[str, Callable[[], Case]] = {"plain": plain, "residual": residual, "joined": joined, "dense": dense}


def written(folder: Path, case: Case) -> Path:
    nodes, given = case
    outputs = [("scores", FLOAT, [1, CLASSES])]
    model = model_of(nodes, [("image", FLOAT, [1, 3, SIDE, SIDE])], outputs, given, opset=20)
    folder.mkdir(exist_ok=True)
    onnx.save_model(model, folder / "source.onnx")
    return folder / "source.onnx"


def samples(images: NDArray[np.float32] = IMAGES) -> Samples:
    return Samples({"image": images}, {"image": 4}, batches=False)


def pruned(source: Path, ratio: float, images: NDArray[np.float32] = IMAGES, work: str = "work") -> Pruned:
    copy = source.with_name(f"{work}-source")
    shutil.copy(source, copy)
    folder = source.with_name(work)
    folder.mkdir()
    return prune(read_source(copy, "the model"), samples(images), ratio, folder)


def answers(model: Path, images: NDArray[np.float32] = IMAGES) -> NDArray[np.float64]:
    engine = load_engine("onnxruntime", model, threads=1)
    name = engine.outputs[0].name
    found = [engine.infer({"image": image[None]})[name].reshape(-1) for image in images]
    engine.close()
    return np.array(found, np.float64)


def constants(model: Path) -> dict[tuple[int, ...], NDArray[Any]]:
    return {tuple(one.dims): numpy_helper.to_array(one) for one in onnx.load(model).graph.initializer}


@pytest.mark.parametrize("case", CASES)
def test_channels_that_are_always_zero_go_first_and_nothing_changes(case: str, tmp_path: Path) -> None:
    source = written(tmp_path, CASES[case]())
    made = pruned(source, 0.01)
    assert made.after < made.before * 0.99
    np.testing.assert_allclose(answers(made.model.path), answers(source), rtol=1e-4, atol=1e-4)
    assert made.model.parameters < read_source(source, "it").parameters


def test_a_depthwise_convolution_loses_the_channels_that_it_passes_on(tmp_path: Path) -> None:
    made = pruned(written(tmp_path, plain()), 0.4)
    found = constants(made.model.path)
    assert {(16, 3, 3, 3), (16, 1, 3, 3), (16, 16, 1, 1)} <= set(found)
    told = [
        a.i for one in onnx.load(made.model.path).graph.node for a in one.attribute if a.name == "group" and a.i > 1
    ]
    assert told == [16]


def test_multiplications_are_those_that_the_layers_have(tmp_path: Path) -> None:
    made = pruned(written(tmp_path, plain()), 0.4)
    area = SIDE * SIDE
    assert made.before == area * (32 * 27 + 32 * 9 + 16 * 32) + 16 * CLASSES
    assert made.after == area * (16 * 27 + 16 * 9 + 16 * 16) + 16 * CLASSES


@pytest.mark.parametrize("own", [[], ["cb"]], ids=["without-a-bias", "with-one"])
def test_what_is_constant_of_a_channel_goes_into_the_bias(own: list[str], tmp_path: Path) -> None:
    given = weights(a=(32, 3, 1, 1), ab=(32,), c=(8, 32, 1, 1), cb=(8,), g=(8, CLASSES))
    given["a"][:16] = 0
    given["ab"][:16] = 3.0
    nodes = [
        node("Conv", ["image", "a", "ab"], ["x1"]),
        node("Relu", ["x1"], ["x2"]),
        node("Conv", ["x2", "c", *own], ["x3"]),
        node("GlobalAveragePool", ["x3"], ["x4"]),
        node("Flatten", ["x4"], ["x5"]),
        node("Gemm", ["x5", "g"], ["scores"]),
    ]
    source = written(tmp_path, (nodes, given))
    made = pruned(source, 0.3)
    assert (16, 3, 1, 1) in constants(made.model.path)
    np.testing.assert_allclose(answers(made.model.path), answers(source), rtol=1e-3, atol=1e-3)


def test_what_is_left_takes_over_from_a_channel_that_is_like_it(tmp_path: Path) -> None:
    """Each channel is there twice: one of two can go, and half of its sum is not lost."""
    given = weights(a=(32, 3, 3, 3), c=(8, 32, 3, 3), g=(8, CLASSES))
    given["a"][16:] = given["a"][:16] * 0.5
    nodes = [
        node("Conv", ["image", "a"], ["x1"], pads=[1] * 4),
        node("Relu", ["x1"], ["x2"]),
        node("Conv", ["x2", "c"], ["x3"], pads=[1] * 4),
        node("GlobalAveragePool", ["x3"], ["x4"]),
        node("Flatten", ["x4"], ["x5"]),
        node("Gemm", ["x5", "g"], ["scores"]),
    ]
    images = np.random.default_rng(3).normal(size=(40, 3, SIDE, SIDE)).astype(np.float32)
    source = written(tmp_path, (nodes, given))
    made = pruned(source, 0.45, images)
    (kept,) = (one for shape, one in constants(made.model.path).items() if shape == (16, 3, 3, 3))
    pairs = [next(at for at in range(32) if np.array_equal(given["a"][at], one)) % 16 for one in kept]
    assert sorted(pairs) == list(range(16)), "one of each pair"
    before, after = answers(source), answers(made.model.path)
    assert np.sqrt(((before - after) ** 2).mean()) < 0.05 * before.std()


def test_the_surgeon_does_what_refitting_all_weights_by_least_squares_does() -> None:
    random = np.random.default_rng(2)
    inputs = random.normal(size=(500, 6)) @ random.normal(size=(6, 6))
    layer = random.normal(size=(4, 6))
    covariance = np.cov(inputs.T, bias=True)
    surgeon = Surgeon.of(layer, covariance)
    costs = surgeon.costs() * surgeon.scale
    damped = covariance + np.diag(covariance.diagonal() * 0.01 + covariance.diagonal().mean() * 1e-6 + 1e-9)
    for channel in range(6):
        kept = [one for one in range(6) if one != channel]
        taken_over = damped[[channel]][:, kept] @ np.linalg.inv(damped[np.ix_(kept, kept)])
        refitted = layer[:, kept] + layer[:, [channel]] @ taken_over
        change = np.zeros_like(layer)
        change[:, kept], change[:, channel] = layer[:, kept] - refitted, layer[:, channel]
        assert costs[channel] == pytest.approx(np.trace(change @ damped @ change.T))
        tried = surgeon.copy()
        tried.remove(channel)
        np.testing.assert_allclose(tried.weights[:, kept], refitted, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(inverted(damped), np.linalg.inv(damped), rtol=1e-8, atol=1e-10)


def test_what_only_unwanted_outputs_read_costs_nothing() -> None:
    surgeon = Surgeon.of(np.array([[1.0, 2.0], [3.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), np.eye(2))
    before = surgeon.costs()
    surgeon.forget([0], 2)
    assert surgeon.costs()[1] == 0
    assert 0 < surgeon.costs()[0] < before[0]
    assert surgeon.weights.tolist() == [[0, 0], [0, 0], [1, 0], [1, 0]]


def network(random: np.random.Generator) -> Case:
    """Some layers in a row, each of a kind that is drawn, with as many silent channels as go at once."""
    nodes: list[onnx.NodeProto] = []
    given: Weights = {}
    x, wide, number = "image", 3, 0

    def named() -> str:
        nonlocal number
        number += 1
        return f"t{number}"

    def conv(of: str, into: int, out: int, dead: list[int], size: int) -> str:
        weight, bias, made = named(), named(), named()
        given[weight] = random.normal(0, 0.4, size=(out, into, size, size)).astype(np.float32)
        given[bias] = random.normal(size=out).astype(np.float32)
        silence(given, dead, weight, bias)
        nodes.append(node("Conv", [of, weight, bias], [made], pads=[size // 2] * 4))
        return made

    def unary(kind: str, of: str) -> str:
        made = named()
        window = {"kernel_shape": [3, 3], "pads": [1] * 4} if kind == "MaxPool" else {}
        nodes.append(node(kind, [of], [made], **window))
        return made

    for _ in range(int(random.integers(1, 4))):
        out = int(random.choice([8, 16, 24]))
        count = {8: 4, 16: 8, 24: 8}[out]
        dead = [int(one) for one in random.permutation(out)[:count]]
        y = conv(x, wide, out, dead, int(random.choice([1, 3])))
        kind = str(random.choice(["none", "residual", "joined", "scaled"]))
        if kind == "residual":
            z, summed = conv(unary("Relu", y), out, out, dead, 3), named()
            nodes.append(node("Add", [y, z], [summed]))
            y = summed
        elif kind == "joined":
            both = named()
            nodes.append(node("Concat", [y, unary("Abs", y)], [both], axis=1))
            y, out = both, 2 * out
        elif kind == "scaled":
            factor, scaled = named(), named()
            given[factor] = random.normal(size=(out, 1, 1)).astype(np.float32)
            nodes.append(node("Mul", [y, factor], [scaled]))
            y = scaled
        x, wide = unary(str(random.choice(["Relu", "Abs", "MaxPool"])), y), out
    given["dense"] = random.normal(size=(wide * SIDE * SIDE, CLASSES)).astype(np.float32)
    nodes += [node("Flatten", [x], ["flat"]), node("MatMul", ["flat", "dense"], ["scores"])]
    return nodes, given


@pytest.mark.parametrize("seed", range(12))
def test_networks_that_are_drawn_answer_the_same_without_their_silent_channels(seed: int, tmp_path: Path) -> None:
    source = written(tmp_path, network(np.random.default_rng(seed)))
    made = pruned(source, 0.01)
    before = answers(source)
    np.testing.assert_allclose(answers(made.model.path), before, rtol=1e-3, atol=1e-4 * np.abs(before).max())
    further = pruned(source, 0.3, work="further")
    assert further.after <= 0.7 * further.before
    assert answers(further.model.path).shape == before.shape


def test_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    source = written(tmp_path, residual())
    first, second = pruned(source, 0.5, work="first"), pruned(source, 0.5, work="second")
    assert first.model.path.read_bytes() == second.model.path.read_bytes()


def test_outputs_of_the_network_keep_their_channels(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["image", "a"], ["x"], pads=[1] * 4),
        node("Conv", ["x", "b"], ["y"]),
        node("GlobalAveragePool", ["y"], ["z"]),
        node("Flatten", ["z"], ["scores"]),
    ]
    source = written(tmp_path, (nodes, weights(a=(32, 3, 3, 3), b=(CLASSES, 32, 1, 1))))
    made = pruned(source, 0.4)
    assert (CLASSES, 16, 1, 1) in constants(made.model.path)


def test_more_than_can_go_is_refused_with_how_much_can(tmp_path: Path) -> None:
    with pytest.raises(
        PruningFailed, match=r"^\d\d\.\d% of its multiplications can be removed at most; spec\.optimize"
    ):
        pruned(written(tmp_path, plain()), 0.9)


@pytest.mark.parametrize("through", ["Softmax", "Split", "If", "Add"])
def test_channels_that_meet_another_operator_are_kept(through: str, tmp_path: Path) -> None:
    """What it does with them is not known, so they stay, and here nothing is left to prune."""
    given = weights(a=(32, 3, 1, 1), b=(32, 3, 1, 1), g=(32, CLASSES))
    middle: dict[str, list[onnx.NodeProto]] = {
        "Softmax": [node("Softmax", ["x2"], ["x3"], axis=1)],
        "Split": [node("Split", ["x2"], ["l", "r"], axis=1, num_outputs=2), node("Concat", ["r", "l"], ["x3"], axis=1)],
        "Add": [
            node("Conv", ["image", "b"], ["y1"]),
            node("Softmax", ["y1"], ["y2"], axis=1),
            node("Add", ["x1", "y1"], ["y3"]),
            node("GlobalAveragePool", ["y3"], ["x3"]),
        ],
        "If": [node("If", ["yes"], ["x3"], then_branch=branch("x2"), else_branch=branch("x2"))],
    }
    nodes = [
        node("Conv", ["image", "a"], ["x1"]),
        node("GlobalAveragePool", ["x1"], ["x2"]),
        *(
            [node("ReduceMax", ["image"], ["m"], keepdims=0), node("Greater", ["m", "nil"], ["yes"])]
            if through == "If"
            else []
        ),
        *middle[through],
        node("Flatten", ["x3"], ["x4"]),
        node("MatMul", ["x4", "g"], ["last"]),
        *([node("ReduceMax", ["y2"], ["more"], keepdims=0)] if through == "Add" else [node("Neg", ["nil"], ["more"])]),
        node("Add", ["last", "more"], ["scores"]),
    ]
    source = written(tmp_path, (nodes, given | {"nil": np.array(0, np.float32)}))
    with pytest.raises(PruningFailed, match="there is nothing to prune"):
        pruned(source, 0.2)


def test_a_constant_that_only_a_graph_inside_a_node_reads_stays(tmp_path: Path) -> None:
    nodes, given = plain()
    decided = [
        node("ReduceMax", ["image"], ["m"], keepdims=0),
        node("Greater", ["m", "nil"], ["yes"]),
        node("If", ["yes"], ["offset"], then_branch=added("hidden"), else_branch=added("hidden")),
        node("Neg", ["offset"], ["scores"]),
    ]
    nodes[-1].output[0] = "before"
    hidden = {"nil": np.array(0, np.float32), "hidden": np.full((1, CLASSES), 2, np.float32)}
    source = written(tmp_path, (nodes + decided, given | hidden))
    made = pruned(source, 0.3)
    np.testing.assert_allclose(answers(made.model.path), answers(source), rtol=1e-4, atol=1e-4)


def added(name: str) -> onnx.GraphProto:
    out = onnx.helper.make_tensor_value_info("inner", FLOAT, None)
    return onnx.helper.make_graph([onnx.helper.make_node("Add", ["before", name], ["inner"])], "branch", [], [out])


def test_a_tensor_of_too_many_channels_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesmith_builder.prune.recipe.WIDEST", 8)
    with pytest.raises(PruningFailed, match="there is nothing to prune"):
        pruned(written(tmp_path, plain()), 0.1)


def branch(name: str) -> onnx.GraphProto:
    out = onnx.helper.make_tensor_value_info("inner", FLOAT, None)
    return onnx.helper.make_graph([onnx.helper.make_node("Neg", [name], ["inner"])], "branch", [], [out])


def test_what_is_no_network_of_fp32_says_why(tmp_path: Path) -> None:
    folder = EXAMPLES / "predictive-maintenance"
    with np.load(folder / "calibration.npz") as archive:
        windows = Samples({"window": archive["window"]}, {"window": 2}, batches=True)
    for name in ("gru.onnx", "forest.skops", "knn.skops"):
        copy = tmp_path / name.partition(".")[0]
        shutil.copy(folder / name, copy)
        facts = shaped_source(read_source(copy, name), {"window": 2}, name)
        assert refusal(facts, windows) is None
        work = tmp_path / f"{copy.name}-work"
        work.mkdir()
        with pytest.raises(PruningFailed, match="there is nothing to prune: no channel goes"):
            prune(facts, windows, 0.3, work)
    assert refusal(facts, None) == (
        "calibration is absent; pruning needs spec.calibration, a set of samples to see by what can go"
    )


def test_taking_over_is_what_keeps_the_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the size of weights alone, with biases corrected, half of the work costs a quarter of the accuracy."""
    folder = EXAMPLES / "surface-inspection"
    with np.load(folder / "calibration.npz") as calibration, np.load(folder / "evaluation.npz") as evaluation:
        seen, asked, labels = calibration["image"], evaluation["image"], evaluation["labels"]
    source = Path(shutil.copy(folder / "model.onnx", tmp_path / "model.onnx"))

    def right(work: str) -> float:
        return float((answers(pruned(source, 0.5, seen, work).model.path, asked).argmax(axis=1) == labels).mean())

    whole = right("surgeon")
    monkeypatch.setattr(
        Surgeon, "of", lambda weights, covariance: Surgeon(weights.copy(), np.eye(len(covariance)), (weights**2).sum())
    )
    assert whole == pytest.approx(0.965, abs=0.008)
    assert right("size") < whole - 0.15
