"""Silero VAD: a recurrent network that gives its state out, takes it in again, and has a branch for each rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from answering import PROTOCOLS, asking
from cases import bare, heard, knows_rates, voice_detector
from voices import recording, spoken

from edgesmith_builder.contract import Gates, Toolchain
from edgesmith_builder.errors import NoCandidate

GATES = Gates(max_accuracy_drop=0.05)


@pytest.mark.parametrize(
    ("name", "toolchain"),
    [
        ("silero_vad.onnx", Toolchain(precisions=("int8", "fp32"))),
        ("silero_vad_openvino_16k.onnx", Toolchain(name="OpenVINO", precisions=("fp32",))),
        ("silero_vad_op18_ifless.onnx", Toolchain(name="OpenVINO", precisions=("fp16",))),
    ],
    ids=["as it came", "OpenVINO", "OpenVINO in halves"],
)
async def test_a_voice_is_told_from_quiet_as_by_the_model_itself(
    name: str, toolchain: Toolchain, workshop: Any, start_server: Any
) -> None:
    case = voice_detector(name)
    made = await workshop.make(case, GATES, toolchain=toolchain)
    (finalist,) = made.judged.finalists
    assert finalist.precision == toolchain.precisions[-1]
    if toolchain.name == "ONNXRuntime":
        assert "what is inside graphs of its nodes stays as it is" in made.judged.refused["int8"]
    assert made.report.reference_accuracy > 0.8, "the model goes on hearing a voice for some tenths of a second"

    sound, voice = recording(5, pitch=170)
    expected, _ = heard(bare(case.model), sound, rate=knows_rates(name))
    server = start_server(made.bundle, "--name", "published")
    for protocol in PROTOCOLS:
        with asking(server, "published", protocol) as ask:
            likely, _ = heard(ask, sound, rate=knows_rates(name))
        tolerance = 0.02 if finalist.precision == "fp16" else 1e-3
        np.testing.assert_allclose(likely, expected, atol=tolerance, err_msg=protocol)
    heard_voice = likely > 0.5
    assert not heard_voice[: spoken(voice).argmax() - 3].any()
    assert heard_voice[spoken(voice)].mean() > 0.95


@pytest.mark.long
async def test_a_branch_that_openvino_cannot_follow_is_told(workshop: Any) -> None:
    with pytest.raises(NoCandidate, match=r"OpenVINO does not read it .*rank has to be known"):
        await workshop.make(
            voice_detector("silero_vad.onnx"), toolchain=Toolchain(name="OpenVINO", precisions=("fp32",))
        )
