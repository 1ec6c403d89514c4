"""Bundles of models that take pictures: what they say, and the golden picture that is replayed of each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pictures import (
    CLASSIFIED,
    DETECTED,
    colours,
    picture_bundle,
    squares,
)

from edgesmith_runtime.bundle import Bundle, BundleError, read_bundle
from edgesmith_runtime.loading import LoadFailed, load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("colours")
    return picture_bundle(folder / "colours", colours(folder / "colours.onnx"), CLASSIFIED)


@pytest.fixture(scope="module")
def squared(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("squares")
    return picture_bundle(folder / "squares", squares(folder / "squares.onnx"), DETECTED)


# From the bundle on ---------------------------------------------------------------------------------------------------


def again(bundle: Bundle, folder: Path, change: Any) -> Path:
    """A copy of a bundle whose document was changed."""
    target = folder / uuid.uuid4().hex
    shutil.copytree(bundle.folder, target)
    document = json.loads((target / "bundle.json").read_text())
    change(document)
    (target / "bundle.json").write_text(json.dumps(document))
    return target


def test_a_bundle_keeps_its_declaration_and_a_digest_of_the_picture(squared: Bundle, tmp_path: Path) -> None:
    read = read_bundle(squared.folder)
    assert read.picture is not None
    assert replace(read.picture, recorded=None) == DETECTED
    assert read.model_digest == read.digests["model.onnx"]
    spoilt = again(squared, tmp_path, dict)
    data = bytearray((spoilt / "picture.png").read_bytes())
    data[60] ^= 1
    (spoilt / "picture.png").write_bytes(data)
    with pytest.raises(BundleError, match=r"picture\.png has digest"):
        read_bundle(spoilt)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda document: document["picture"].update(width=-1), "picture.width is '-1'; expected a whole number"),
        (lambda document: document["picture"].update(scale=10**400), "picture.scale is '1000"),
        (lambda document: document["picture"].pop("golden"), "picture.golden is 'None'; expected the recorded answer"),
        (
            lambda document: document["picture"].update(input="x"),
            "picture.input is 'x'; expected the model's one input",
        ),
        (
            lambda document: document["picture"]["detection"].update(boxes="x"),
            "picture is 'x'; expected outputs of the model",
        ),
        (lambda document: document.update(picture=[]), "picture is '[]'; expected an object"),
    ],
)
def test_a_bundle_with_a_wrong_declaration_is_refused(squared: Bundle, tmp_path: Path, change: Any, says: str) -> None:
    with pytest.raises(BundleError) as error:
        read_bundle(again(squared, tmp_path, change))
    assert says in str(error.value)


def moved(document: dict[str, Any]) -> None:
    for one in document["picture"]["golden"]["answer"]["boxes"]:
        one["index"] = 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (moved, "lacks 'red'|lacks 'blue'"),
        (lambda document: document["picture"].update(scale=0.001), "lacks 'blue'|lacks 'red'"),
        (
            lambda document: document["picture"]["detection"].update(order="BoxesFirst"),
            "the answer to the golden picture lacks 'red'",
        ),
    ],
)
def test_the_golden_picture_is_replayed_before_anything_is_served(
    squared: Bundle, tmp_path: Path, change: Any, says: str
) -> None:
    folder = again(squared, tmp_path, change)
    with pytest.raises(LoadFailed, match=says) as error:
        load(folder, threads=1, max_batch=1)
    assert error.value.finding.reason == "GoldenMismatch"


def test_a_self_test_replays_it_too(coloured: Bundle, tmp_path: Path) -> None:
    def other(document: dict[str, Any]) -> None:
        document["picture"]["golden"]["answer"]["labels"][0]["index"] = 1

    for folder, verdict in ((coloured.folder, "Passed"), (again(coloured, tmp_path, other), "GoldenMismatch")):
        words = ["selftest", "--bundle", str(folder), "--threads", "1", "--termination-log", str(tmp_path / "said")]
        subprocess.run([sys.executable, "-m", "edgesmith_runtime", *words], check=False, capture_output=True)
        said = json.loads((tmp_path / "said").read_text())
        assert (said["reason"], said["verdict"]) == (verdict, "Passed" if verdict == "Passed" else "Failed")
