"""Published models in fp16: what their files in fp16 answer, and what those answer whose values are rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cases import ANSWER, DETECTOR, PICTURE, READER, bare, heard, knows_rates
from numpy.typing import NDArray
from pages import line, page, plates, scaled
from voices import recording, spoken
from wheels import magika, rapidocr, silero

from edgesmith_builder.toolchain.half import in_half
from edgesmith_builder.toolchain.rounded import rounded

pytestmark = pytest.mark.long

CLASSIFIER = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
"""Whether a line of text stands on its head."""


def forms(source: Path, folder: Path) -> tuple[Path, Path]:
    """The model in fp16, and what answers in its place."""
    half = in_half(source, folder / "half.onnx").file
    onnx.checker.check_model(str(half), full_check=True)
    assert half.stat().st_size < 0.75 * source.stat().st_size
    return half, rounded(half, folder / "rounded.onnx")


def likeness(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The cosine between two answers."""
    product = float((one * other).sum())
    return product / float(np.sqrt((one * one).sum() * (other * other).sum()))


@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_op18_ifless.onnx", "silero_vad_openvino_16k.onnx"])
def test_a_voice_is_heard_in_fp16_through_branches_and_fed_back_state(name: str, tmp_path: Path) -> None:
    sound, voice = recording(5, pitch=170)
    expected, _ = heard(bare(silero(name)), sound, rate=knows_rates(name))
    for form in forms(silero(name), tmp_path):
        likely, _ = heard(bare(form), sound, rate=knows_rates(name))
        np.testing.assert_allclose(likely, expected, atol=0.02)
        assert ((likely > 0.5) == (expected > 0.5)).all()
    assert (expected[spoken(voice)] > 0.5).mean() > 0.95


@pytest.mark.parametrize("name", [DETECTOR, READER])
def test_text_is_found_and_read_in_fp16(name: str, tmp_path: Path) -> None:
    image = page(plates(6, 1)[0], 3)
    picture = {PICTURE: (scaled(image) if name == DETECTOR else line(image, 320))[None]}
    expected = bare(rapidocr(name))(picture)[ANSWER]
    for form in forms(rapidocr(name), tmp_path):
        found = bare(form)(picture)[ANSWER]
        assert likeness(found, expected) > 0.999
        if name == READER:
            np.testing.assert_array_equal(found.argmax(-1), expected.argmax(-1))


def test_lines_on_their_head_are_told_in_fp16(tmp_path: Path) -> None:
    source = rapidocr(CLASSIFIER)
    pictures = {"x": np.random.default_rng(1).uniform(-1, 1, (4, 3, 48, 192)).astype(np.float32)}
    (expected,) = bare(source)(pictures).values()
    for form in forms(source, tmp_path):
        (found,) = bare(form)(pictures).values()
        np.testing.assert_allclose(found, expected, atol=4e-3)


def test_a_sum_of_squares_beyond_fp16_shows_in_the_stand_in_and_not_in_the_file(tmp_path: Path) -> None:
    """Magika squares and sums 512 numbers of up to 50, which a GPU in fp16 does not get through."""
    asked = {"bytes": np.random.default_rng(0).integers(0, 256, (1, 2048)).astype(np.int32)}
    half, stand_in = forms(magika(), tmp_path)
    expected, file, computed = (bare(one)(asked)["target_label"] for one in (magika(), half, stand_in))
    assert likeness(file, expected) > 0.999
    assert likeness(computed, expected) < 0.9
