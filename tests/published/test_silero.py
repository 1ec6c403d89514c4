"""Silero VAD: a recurrent network that gives its state out, takes it in again, and has a branch for each rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from answering import PROTOCOLS, Asked, asking
from numpy.typing import NDArray
from voices import RATE, Sound, frames, recording, spoken
from wheels import silero

from edgesmith_builder.contract import Gates, Toolchain
from edgesmith_builder.errors import GatesFailed

Arrays = Mapping[str, NDArray[Any]]


def heard(ask: Asked, sound: Sound, *, rate: bool) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Plays a recording to a model, piece by piece, each with the state that the one before left.

    Returns:
        How likely each piece is of speech, and all that was sent, a set as the builder takes it.
    """
    state, likely = np.zeros((2, 1, 128), np.float32), []
    sent: dict[str, list[NDArray[Any]]] = {name: [] for name in ("input", "state", *(["sr"] if rate else []))}
    for piece in frames(sound):
        inputs = {"input": piece[None], "state": state} | ({"sr": np.array(RATE, np.int64)} if rate else {})
        for name, array in inputs.items():
            sent[name].append(array[0] if name == "input" else array)
        answer = ask(inputs)
        state = answer["stateN"]
        likely.append(answer["output"].item())
    return np.array(likely, np.float32), {name: np.stack(arrays) for name, arrays in sent.items()}


def bare(model: Path) -> Asked:
    """The model without us."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda inputs: dict(zip(["output", "stateN"], session.run(["output", "stateN"], dict(inputs)), strict=True))


def together(parts: list[Arrays]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def sets_of(model: Path, *, rate: bool) -> tuple[Arrays, Arrays]:
    """What a voice says, to calibrate with, and what two others say, with whether each piece is of the voice."""
    _, calibration = heard(bare(model), recording(1, pitch=110)[0], rate=rate)
    evaluation: list[Arrays] = []
    labels = []
    for seed, pitch in ((3, 140), (4, 220)):
        sound, voice = recording(seed, pitch=pitch)
        evaluation.append(heard(bare(model), sound, rate=rate)[1])
        labels.append(spoken(voice).astype(np.int64))
    return calibration, {**together(evaluation), "labels": np.concatenate(labels)}


@pytest.mark.parametrize(
    ("name", "toolchain"),
    [
        ("silero_vad.onnx", Toolchain(precisions=("int8", "fp32"))),
        ("silero_vad_openvino_16k.onnx", Toolchain(name="OpenVINO", precisions=("fp32",))),
        ("silero_vad_op18_ifless.onnx", Toolchain(name="OpenVINO", precisions=("fp16",))),
    ],
    ids=["ONNX Runtime", "OpenVINO", "OpenVINO in halves"],
)
async def test_a_voice_is_told_from_quiet_as_by_the_model_itself(
    name: str, toolchain: Toolchain, workshop: Any, start_server: Any
) -> None:
    model, rate = silero(name), name != "silero_vad_openvino_16k.onnx"
    report, bundle = await workshop.make(
        model,
        *sets_of(model, rate=rate),
        output="output",
        toolchain=toolchain,
        gates=Gates(max_accuracy_drop=0.05),
    )
    assert report.precision == toolchain.precisions[-1]
    assert report.accuracy is not None
    assert report.accuracy > 0.8, "the model goes on hearing a voice for some tenths of a second"

    sound, voice = recording(5, pitch=170)
    expected, _ = heard(bare(model), sound, rate=rate)
    server = start_server(bundle)
    for protocol in PROTOCOLS:
        with asking(server, "published", protocol) as ask:
            likely, _ = heard(ask, sound, rate=rate)
        np.testing.assert_allclose(
            likely, expected, atol=0.02 if report.precision == "fp16" else 1e-3, err_msg=protocol
        )
    said = likely > 0.5
    assert said[: spoken(voice).argmax() - 3].sum() == 0, "nothing is heard before the voice"
    assert said[spoken(voice)].mean() > 0.95


async def test_a_model_that_openvino_cannot_follow_says_where(workshop: Any) -> None:
    model = silero("silero_vad.onnx")
    with pytest.raises(GatesFailed, match=r"OpenVINO does not read it .*rank has to be known"):
        await workshop.make(
            model,
            *sets_of(model, rate=True),
            output="output",
            toolchain=Toolchain(name="OpenVINO", precisions=("fp32",)),
        )
