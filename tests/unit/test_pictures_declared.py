"""What a spec says of pictures, as a build is told it."""

from __future__ import annotations

from typing import Any

from snapshots import SETTINGS, model, profile

from edgesmith.decide.builds import build_for
from edgesmith.decide.changes import changes
from edgesmith.decide.plan import Change

BEFORE = build_for(model(), profile(), SETTINGS).model_dump(mode="json", by_alias=True, exclude_none=True)


def test_what_is_said_of_pictures_is_part_of_the_build_in_numbers() -> None:
    picture = {
        "resize": "Crop",
        "shorterSide": 256,
        "scale": "1/255",
        "mean": ["0.485", "0.456", "0.406"],
        "deviation": ["-2"],
        "labels": ["a", "b"],
        "classification": {"activation": "Softmax", "scale": "1/256", "topK": 2},
    }
    found = build_for(model(picture=picture), profile(), SETTINGS)
    assert found.picture is not None
    assert found.picture.model_dump(exclude_defaults=True) == {
        "resize": "Crop",
        "shorter_side": 256,
        "scale": 1 / 255,
        "mean": (0.485, 0.456, 0.406),
        "deviation": (-2.0,),
        "labels": ("a", "b"),
        "classification": {"activation": "Softmax", "scale": 1 / 256, "top_k": 2},
    }
    sought = {"scores": "s", "classes": "c", "form": "CornersYX", "unit": "Normalised", "scoreThreshold": "40%"}
    boxes = build_for(model(picture={"detection": sought}), profile(), SETTINGS)
    assert boxes.picture is not None
    assert boxes.picture.detection is not None
    assert (boxes.picture.detection.score_threshold, boxes.picture.detection.iou_threshold) == (0.4, 0.45)
    assert (boxes.picture.detection.form, boxes.picture.detection.unit) == ("CornersYX", "Normalised")
    plain = build_for(model(), profile(), SETTINGS)
    assert len({plain.key, found.key, boxes.key}) == 3
    assert Change("picture.scale", None, str(1 / 255)) in changes(found, BEFORE)
    many = build_for(model(picture={"labels": ["label"] * 1000, "classification": {}}), profile(), SETTINGS)
    (labels,) = (one for one in changes(many, BEFORE) if one.field == "picture.labels")
    assert labels.new is not None
    assert len(labels.new) == 200


def test_the_same_picture_written_otherwise_is_the_same_build() -> None:
    """Defaults of the API, the contract and the text that the key is made of are the same."""
    brief: dict[str, Any] = {"classification": {}}
    whole: dict[str, Any] = {
        "resize": "Stretch",
        "fill": 114,
        "interpolation": "Bilinear",
        "scale": "1.0",
        "mean": ["0"],
        "deviation": ["1.0"],
        "labels": [],
        "classification": {"activation": "None", "scale": "1", "topK": 5},
    }
    keys = {build_for(model(picture=picture), profile(), SETTINGS).key for picture in (brief, whole)}
    assert len(keys) == 1
    keys |= {
        build_for(model(picture={"detection": sought}), profile(), SETTINGS).key for sought in ({}, {"maxBoxes": 100})
    }
    assert len(keys) == 2
