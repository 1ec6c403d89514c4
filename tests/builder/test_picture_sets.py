"""Sets of pictures: what is declared makes samples of them, as a server makes its input of a picture."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, made, node
from numpy.typing import NDArray
from PIL import Image

from edgesmith_builder.contract import Artifact, Classification, Picture
from edgesmith_builder.dataset import (
    BOXES,
    CLASSES,
    NUMBERS,
    PictureSet,
    holds_pictures,
    picture_labels,
    pictures,
    read_npz,
    read_pictures,
)
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch, failure_of
from edgesmith_runtime import picture as runtime
from edgesmith_runtime.tensors import TensorSpec

NAMES = ("good", "scratch", "dent", "hole")
DECLARED = Picture(scale=1 / 255, labels=NAMES, classification=Classification(activation="Softmax", top_k=2))
FIELD = "spec.evaluation.uri s3://m/set.zip"


def png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def named(labels: Any) -> bytes:
    return json.dumps(labels).encode()


# Whole builds ---------------------------------------------------------------------------------------------------------


async def test_pictures_build_what_the_same_samples_do(world: Any, sets: Any) -> None:
    """The world's samples as PNG files, by their names' order, beside arrays of what these files hold."""
    old = np.load(io.BytesIO(world.store.read(world.evaluation)))
    levels = np.rint(old["image"][:, 0].astype(np.float64) * 255)
    rows = (levels * (1 / 255)).astype(np.float32)[:, None]
    files = {f"{number:04}.png": png(one) for number, one in enumerate(levels)}
    labels = {name: NAMES[kind] if kind % 2 else int(kind) for name, kind in zip(files, old["labels"], strict=True)}
    folders = {f"{NAMES[kind]}/{name}": data for (name, data), kind in zip(files.items(), old["labels"], strict=True)}
    arrays = sets.npz(image=rows, labels=old["labels"])
    calibration = {"calibration": Artifact(uri=world.store.put("c.npz", sets.npz(image=rows)))}
    built = {}
    for kind, data in (
        ("arrays", arrays),
        ("named", packed({**files, "labels.json": named(labels)})),
        ("folders", packed({**folders, "__MACOSX/._0000.png": b"litter", "dent/.DS_Store": b""})),
    ):
        evaluation = Artifact(uri=world.store.put(f"set-of-{kind}", data))
        built[kind] = await world.build(world.request(picture=DECLARED, evaluation=evaluation, **calibration))
    layers = {kind: [layer.digest for layer in (await world.manifest(one)).layers[-2:]] for kind, one in built.items()}
    assert layers["named"] == layers["arrays"]
    assert {one.report.candidates[0].accuracy for one in built.values()} == {
        built["arrays"].report.candidates[0].accuracy
    }
    assert len({one.image for one in built.values()}) == 3, "each set has a key of its own"


async def test_pictures_calibrate_without_anything_that_is_right_for_them(world: Any) -> None:
    old = np.load(io.BytesIO(world.store.read(world.calibration)))["image"]
    files = {f"{number}.jpeg": jpeg(one[0] * 255) for number, one in enumerate(old)}
    calibration = Artifact(uri=world.store.put("pictures.zip", packed(files)))
    found = await world.build(world.request(picture=DECLARED, calibration=calibration))
    assert found.report.finalists[0].precision == "int8"


def jpeg(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def by_colour() -> onnx.ModelProto:
    """Which channel of a picture is the brightest."""
    return made(
        [node("GlobalAveragePool", ["image"], ["means"]), node("Flatten", ["means"], ["scores"])],
        [("image", FLOAT, ["n", 3, 8, 8])],
        [("scores", FLOAT, ["n", 3])],
        {},
        '["red", "green", "blue"]',
    )


async def test_channels_that_are_declared_in_another_order_cost_accuracy_in_the_build(world: Any) -> None:
    rng = np.random.default_rng(5)
    files = {}
    for number in range(60):
        kind = number % 3 if number < 30 else number % 2 * 2  # red and blue above all
        pixels = rng.integers(0, 100, (16, 16, 3))
        pixels[..., kind] += 150
        files[f"{('red', 'green', 'blue')[kind]}/{number}.png"] = png(pixels)
    evaluation = Artifact(uri=world.store.put("colours.zip", packed(files)))
    source = Artifact(uri=world.store.put("colours.onnx", by_colour().SerializeToString()))
    request = {"source": source, "evaluation": evaluation, "calibration": None, "precisions": ("fp32",)}
    declared = Picture(scale=1 / 255, classification=Classification(activation="None", top_k=1))
    right = await world.build(world.request(picture=declared, **request))
    assert right.report.candidates[0].accuracy == 1.0
    turned = declared.model_copy(update={"channels": "BGR"})
    with pytest.raises(DatasetMismatch, match="guess"):
        await world.build(world.request(picture=turned, **request))


async def test_pictures_without_a_declaration_are_refused_in_one_sentence(world: Any) -> None:
    evaluation = Artifact(uri=world.store.put("set.zip", packed({"good/1.png": png(np.zeros((8, 8)))})))
    with pytest.raises(
        DatasetInvalid, match=r"spec\.evaluation\.uri .* holds pictures, and spec\.picture, .* expected"
    ):
        await world.build(world.request(evaluation=evaluation))


# Samples --------------------------------------------------------------------------------------------------------------


def declared_for(resize: str = "Letterbox", **changes: Any) -> runtime.Picture:
    return runtime.Picture(
        **{
            "input": "image", "layout": "NCHW", "width": 32, "height": 32, "resize": resize, "shorter_side": None,
            "fill": 114, "interpolation": "Bilinear", "channels": "RGB", "scale": 1.0, "mean": (0.0,),
            "deviation": (1.0,), "labels": ("nut", "bolt"), "classification": None, "detection": None, **changes,
        }
    )  # fmt: skip


def read(tmp_path: Path, files: Mapping[str, bytes]) -> PictureSet:
    path = tmp_path / "set.zip"
    path.write_bytes(packed(files))
    return read_pictures(path, field=FIELD)


def arrays(tmp_path: Path, files: Mapping[str, bytes], kind: Any = None, **changes: Any) -> dict[str, NDArray[Any]]:
    declared = declared_for(**changes)
    spec = TensorSpec("image", "FP32", (-1, 3, 32, 32))
    return read(tmp_path, files).arrays(declared, spec, declared.labels, kind, tmp_path)


def box(left: float, top: float, right: float, bottom: float, **kind: Any) -> dict[str, Any]:
    return {"box": {"left": left, "top": top, "right": right, "bottom": bottom}, **kind}


WIDE = png(np.full((32, 64, 3), 200))


def test_boxes_of_a_picture_lie_where_the_server_puts_the_picture(tmp_path: Path) -> None:
    said = {"b.png": [box(8, 4, 40, 28, label="bolt"), box(0, 0, 64, 32, index=0)], "a.png": []}
    found = arrays(tmp_path, {"b.png": WIDE, "a.png": WIDE, "labels.json": named(said)}, BOXES)
    assert found["image"].shape == (2, 3, 32, 32)
    assert found["image"][0, 0, 0, 0] == 114, "beside the picture"
    assert found["image"][0, 0, 16, 16] == 200
    empty = [0, 0, 0, 0, -1]
    assert found["labels"].tolist() == [[empty, empty], [[4, 10, 20, 22, 1], [0, 8, 32, 24, 0]]]


def test_boxes_beside_what_is_cut_out_stay_what_they_are(tmp_path: Path) -> None:
    said = {"a.png": [box(0, 0, 20, 32, index=1)]}
    found = arrays(tmp_path, {"a.png": WIDE, "labels.json": named(said)}, BOXES, resize="Crop")
    assert found["labels"].tolist() == [[[-16, 0, 4, 32, 1]]]


def test_no_box_in_any_picture_is_an_array_of_none(tmp_path: Path) -> None:
    found = arrays(tmp_path, {"a.png": WIDE, "labels.json": named({"a.png": []})}, BOXES)
    assert found["labels"].tolist() == [[[0, 0, 0, 0, -1]]]


def test_layouts_without_a_batch_have_samples_along_the_first_axis_all_the_same(tmp_path: Path) -> None:
    declared = declared_for(layout="HWC")
    spec = TensorSpec("image", "UINT8", (32, 32, 3))
    found = read(tmp_path, {"a.png": WIDE, "b.png": WIDE}).arrays(declared, spec, (), None, tmp_path)
    assert found["image"].shape == (2, 32, 32, 3)
    assert found["image"].dtype == np.uint8
    assert set(found) == {"image"}


def test_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    said = {"a.png": [1.5, 2], "b.png": [0, -1]}
    found = arrays(tmp_path, {"a.png": WIDE, "b.png": WIDE, "labels.json": named(said)}, NUMBERS)
    assert found["labels"].tolist() == [[1.5, 2.0], [0.0, -1.0]]


def test_classes_that_the_model_has_no_names_for_are_numbers_or_stay_text(tmp_path: Path) -> None:
    for folders, expected in ((("0", "12"), [0, 12]), (("nut", "bolt"), ["bolt", "nut"])):
        files = {f"{folder}/1.png": WIDE for folder in folders}
        found = read(tmp_path, files).arrays(
            declared_for(), TensorSpec("image", "FP32", (1, 3, 32, 32)), (), CLASSES, tmp_path
        )
        assert found["labels"].tolist() == expected


def test_a_box_s_class_is_any_number_where_the_model_has_no_names(tmp_path: Path) -> None:
    for index, kinds in ((7, [7.0]), (10**400, None)):
        files = {"a.png": WIDE, "labels.json": named({"a.png": [box(0, 0, 9, 9, index=index)]})}
        given = declared_for(), TensorSpec("image", "FP32", (1, 3, 32, 32)), (), BOXES, tmp_path
        if kinds is None:
            with pytest.raises(DatasetInvalid, match=r"a box of the class 1000.*…; one of the model's was expected"):
                read(tmp_path, files).arrays(*given)
        else:
            assert read(tmp_path, files).arrays(*given)["labels"][0, :, 4].tolist() == kinds


# What is no set -------------------------------------------------------------------------------------------------------

GOOD = {"a.png": WIDE}
REFUSED: dict[str, tuple[Any, dict[str, bytes], str]] = {
    "another file": (None, {**GOOD, "a.txt": b"x"}, r"holds 'a\.txt'; pictures \.jpg, \.jpeg and \.png and one labels"),
    "no picture": (None, {"a.jpg": b"GIF89a"}, r"holds 'a\.jpg', which is not read \(.*\); a JPEG or PNG was expected"),
    "half a picture": (None, {"a.png": WIDE[: len(WIDE) // 2]}, r"holds 'a\.png', which is not read \("),
    "no labels": (CLASSES, GOOD, r"holds 'a\.png' in no folder and has no labels\.json; what is right"),
    "a folder of no class": (CLASSES, {"rust/a.png": WIDE}, r"has the label 'rust'; .* its name: nut, bolt$"),
    "no JSON": (CLASSES, {**GOOD, "labels.json": b"{"}, r"labels\.json that is no JSON \(.*\); an object was expected"),
    "no object": (CLASSES, {**GOOD, "labels.json": b"[]"}, "that is no object; an entry for each picture was expected"),
    "none for one": (CLASSES, {**GOOD, "labels.json": b"{}"}, r"has no entry for 'a\.png' in labels\.json; one"),
    "one too many": (CLASSES, {**GOOD, "labels.json": named({"a.png": 0, "b.png": 1})}, r"'b\.png' .* no such picture"),
    "half a class": (CLASSES, {**GOOD, "labels.json": named({"a.png": 0.5})}, r"label 0\.5; the number or the name"),
    "a class for boxes": (BOXES, {**GOOD, "labels.json": named({"a.png": "nut"})}, r'label "nut"; a list of boxes was'),
    "half a box": (BOXES, {**GOOD, "labels.json": named({"a.png": [{"label": "nut"}]})}, r"the box .* was expected"),
    "a box of no class": (
        BOXES,
        {**GOOD, "labels.json": named({"a.png": [box(0, 0, 1, 1, label="rust")]})},
        r'a box of the class "rust"; one of the model\'s was expected',
    ),
    "a turned box": (
        BOXES,
        {**GOOD, "labels.json": named({"a.png": [box(9, 0, 1, 1, index=0)]})},
        "left before right and top before bottom were expected",
    ),
    "text for numbers": (NUMBERS, {**GOOD, "labels.json": named({"a.png": "nut"})}, "labels that are not numbers"),
}  # fmt: skip


def labelled(right: Any) -> dict[str, bytes]:
    return {**GOOD, "labels.json": named({"a.png": right})}


NO_CLASS = {"20 digits": 10**20, "20 digits as text": "9" * 20, "5,000 digits": "9" * 5000, "201 letters": "n" * 201}
REFUSED |= {
    f"a class of {name}": (CLASSES, labelled(said), r"has the label .*; the number or the name of a class was expected")
    for name, said in NO_CLASS.items()
}
REFUSED |= {
    f"a box of index {str(kind)[:9]}": (
        BOXES,
        labelled([box(0, 0, 9, 9, index=kind), box(0, 0, 9, 9, index=0)]),
        f"a box of the class {str(kind)[:9]}.*; one of the model's was expected",
    )
    for kind in (-5, -1, 2, 7, 10**20, 10**400)
}
REFUSED |= {
    f"a side of {str(side)[:9]!r}": (
        BOXES,
        labelled([{"index": 0, "box": {"left": 0, "top": side, "right": 9, "bottom": 9}}]),
        "has the box .*; sides in pixels, each a number, were expected",
    )
    for side in ("0", True, None, -math.inf, math.nan, -1e308, -(10**400))
}
REFUSED |= {
    "a folder of 200 digits": (CLASSES, {f"{'9' * 200}/a.png": WIDE}, 'has the label "999.*…; the number or the name'),
    "a number of 401 digits": (NUMBERS, labelled(10**400), "labels that are not numbers"),
    "a box of a label that is a number too high": (
        BOXES,
        labelled([box(0, 0, 9, 9, label="2")]),
        "a box of the class 2; one of",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_set_of_pictures_is_told_in_one_sentence(case: str, tmp_path: Path) -> None:
    kind, files, words = REFUSED[case]
    with pytest.raises(DatasetInvalid, match=words) as caught:
        arrays(tmp_path, files, kind)
    assert str(caught.value).startswith(FIELD)


@pytest.mark.parametrize(
    ("bound", "most", "words"),
    [
        ("DATASET", 20_000, r"holds 2 pictures, which take 24\.6 kB as the model's input 'image'; at most"),
        ("PICTURE_LIMIT", 1, r"holds 'a\.png' of .*; at most"),
        ("PICTURES_LIMIT", 1, "holds 2 pictures; between 1 and 1 were expected"),
    ],
)
def test_more_than_there_is_room_for_is_refused_before_a_picture_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, most: int, words: str
) -> None:
    monkeypatch.setattr(pictures, bound, most)
    with pytest.raises(DatasetInvalid, match=words):
        arrays(tmp_path, {"a.png": WIDE, "b.png": b""})


@pytest.mark.parametrize(("labelled", "most", "words"), [(2, 160, None), (3, 160, r"has 3 boxes in 'b\.png', and 2")])
def test_room_for_the_picture_with_the_most_boxes_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: int, most: int, words: str | None
) -> None:
    monkeypatch.setattr(picture_labels, "BOXES_LIMIT", most)
    said = {"a.png": [box(0, 0, 9, 9, index=0)], "b.png": [box(0, 0, 9, 9, index=1)] * labelled}
    files = {"a.png": WIDE, "b.png": WIDE, "labels.json": named(said)}
    if words is None:
        assert arrays(tmp_path, files, BOXES)["labels"].nbytes == most
        return
    with pytest.raises(DatasetInvalid, match=f"{words} pictures with room for as many take 240 B; at most 160 B were"):
        arrays(tmp_path, files, BOXES)


def test_a_picture_may_be_larger_than_a_server_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = io.BytesIO()
    Image.new("L", (6000, 4000), 90).save(photograph, "PNG")
    assert arrays(tmp_path, {"a.png": photograph.getvalue()})["image"].max() == 114, "what is beside it"
    monkeypatch.setattr(pictures, "LARGEST", 3 * 64 * 32)
    assert arrays(tmp_path, {"a.png": WIDE})["image"].shape == (1, 3, 32, 32)
    with pytest.raises(DatasetInvalid) as caught:
        arrays(tmp_path, {"a.png": png(np.zeros((32, 65, 3)))})
    assert str(caught.value) == f"{FIELD} holds 'a.png' of 65 x 32 pixels; at most 0.002048 million were expected"


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "DATASET", 1_000_000)
    with pytest.raises(DatasetInvalid, match=r"unpacks to 2\.0 MB; at most 1\.0 MB were expected"):
        read(tmp_path, {"a.png": bytes(2_000_000)})


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a/b.JPG"], "pictures"),
        (["image.npy"], "arrays"),
        (["image.npy", "a.png"], "arrays"),
        (["a.txt"], "neither"),
        (["__MACOSX/a.png"], "neither"),
    ],
)
def test_a_zip_with_a_picture_and_no_array_is_a_set_of_pictures(tmp_path: Path, names: list[str], what: str) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(packed(dict.fromkeys(names, b"")))
    assert holds_pictures(path) is (what == "pictures")


def test_what_is_no_zip_is_no_set_of_pictures(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(WIDE)
    assert not holds_pictures(path)


def test_a_folder_called_as_a_picture_is_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match="holds no picture; files"):
        read(tmp_path, {"a.png/": b"", "labels.json": b"{}"})


# Full disks -----------------------------------------------------------------------------------------------------------


def written_pictures(folder: Path) -> None:
    arrays(folder, GOOD)


def turned_numbers(folder: Path) -> None:
    np.savez(folder / "set.npz", x=np.arange(3, dtype=">f4"), y=np.array([b"a"]))
    found = read_npz(folder / "set.npz", field=FIELD, folder=folder)
    assert (found["x"].tolist(), found["y"].tolist()) == ([0, 1, 2], ["a"])


@pytest.mark.parametrize(("write", "file"), [(written_pictures, "pictures.npy"), (turned_numbers, "0.written")])
def test_a_full_disk_is_tried_again(tmp_path: Path, write: Callable[[Path], None], file: str) -> None:
    (tmp_path / file).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path)
    failure = failure_of(caught.value)
    assert (failure.reason, failure.retry) == ("Internal", True)


@pytest.mark.parametrize("write", [written_pictures, turned_numbers])
def test_nothing_is_written_through_a_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    """Where the disk is full, that would end the process by SIGBUS."""
    modes, mapped = set(), np.memmap

    def mapping(*given: Any, mode: str, **named: Any) -> Any:
        modes.add(mode)
        return mapped(*given, mode=mode, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "memmap", mapping)
    write(tmp_path)
    assert modes == {"r"}
