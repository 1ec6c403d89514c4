"""`edgesmith promote --ring`: what one ring's directory says is written into the next one's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from edgesmith.cli import main

LAB = """\
# The lab's.
apiVersion: edgesmith.dev/v1alpha1
kind: EdgeModel
metadata: {name: parts}
spec:
  source:
    uri: s3://models/parts/2/model.onnx  # the second one
  # At once: it is the lab.
  rollout:
    steps: [{nodes: 1, bake: 1s}]
  deviceProfiles: {names: [line-pc]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {rollout: "2"}
"""
PILOT = """\
apiVersion: edgesmith.dev/v1alpha1
kind: EdgeModel
metadata:
    name: parts
spec:
    source:
        uri: s3://models/parts/1/model.onnx
    deviceProfiles: {names: [line-pc]}
    nodeSelector:
        site: north  # only there
    rollout:
        # At night.
        steps:
            - {nodes: 1, bake: 1h}

        maxUnavailable: 1
"""


@pytest.fixture
def rings(tmp_path: Path) -> Path:
    """A lab and a pilot."""
    for name, text in (("lab", LAB), ("pilot", PILOT)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "parts.yaml").write_text(text)
    return tmp_path


def promote(rings: Path, before: str = "lab", after: str = "pilot", *more: str) -> int:
    """The exit status of the command."""
    return main(["promote", "--ring", before, "--to", after, "--directory", str(rings), *more])


def test_everything_is_taken_but_how_and_where_it_rolls_out(rings: Path) -> None:
    lab, pilot = (next(yaml.safe_load_all(text)) for text in (LAB, PILOT))
    assert promote(rings) == 0
    text = (rings / "pilot/parts.yaml").read_text()
    model, other = yaml.safe_load_all(text)
    assert model["spec"] == lab["spec"] | {key: pilot["spec"][key] for key in ("rollout", "nodeSelector")}
    assert other["data"] == {"rollout": "2"}
    for words in ("# the second one", "# At night.", "# only there", "# The lab's."):
        assert words in text


def test_the_second_time_there_is_nothing_to_do(rings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert promote(rings) == 0
    assert capsys.readouterr().out == f"changed  {rings}/pilot/parts.yaml\n"
    before = (rings / "pilot/parts.yaml").read_text()
    assert promote(rings) == 0
    assert capsys.readouterr().out == "Ring pilot runs what ring lab runs already.\n"
    assert (rings / "pilot/parts.yaml").read_text() == before


def test_a_ring_without_steps_of_its_own_takes_none_over(rings: Path) -> None:
    text = LAB.replace("  # At once: it is the lab.\n  rollout:\n    steps: [{nodes: 1, bake: 1s}]\n", "")
    (rings / "pilot/parts.yaml").write_text(text.replace("/2/", "/1/"))
    assert promote(rings) == 0
    model = next(yaml.safe_load_all((rings / "pilot/parts.yaml").read_text()))
    assert "rollout" not in model["spec"]
    assert model["spec"]["source"]["uri"].endswith("/2/model.onnx")


@pytest.mark.parametrize("listed", [False, True], ids=["alone", "in a List"])
def test_a_ring_keeps_its_own_in_files_of_json_too(rings: Path, *, listed: bool) -> None:
    def written(ring: str, spec: dict[str, object]) -> Path:
        one = {"kind": "EdgeModel", "metadata": {"name": "parts"}, "spec": spec}
        other = {"kind": "EdgeModel", "metadata": {"name": "others"}, "spec": {"rollout": {"paused": True}}}
        path = rings / ring / "m.json"
        path.write_text(json.dumps({"kind": "List", "items": [one, other]} if listed else one))
        return path

    steps = {"steps": [{"nodes": 1, "bake": "1h"}]}
    written("lab", {"source": {"uri": "s3://m/2"}, "rollout": {"paused": True}, "nodeSelector": {"lab": "yes"}})
    target = written("pilot", {"source": {"uri": "s3://m/1"}, "rollout": steps})
    for _ in range(2):
        assert promote(rings) == 0
        found = json.loads(target.read_text())
        assert (found["items"][0] if listed else found)["spec"] == {"source": {"uri": "s3://m/2"}, "rollout": steps}
        if listed:
            assert found["items"][1]["spec"] == {"rollout": {"paused": True}}


def test_edge_models_in_a_list_of_yaml_are_refused_before_anything_is_written(
    rings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = yaml.safe_dump({"kind": "List", "items": [*yaml.safe_load_all(LAB)]})
    (rings / "lab" / "parts.yaml").write_text(listed)
    assert promote(rings) == 1
    assert "has EdgeModels in a List; write each as a document of its own" in capsys.readouterr().err
    assert (rings / "pilot" / "parts.yaml").read_text() == PILOT


def test_a_manifest_that_is_new_is_copied_and_one_that_went_is_named(
    rings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rings / "lab/night").mkdir()
    (rings / "lab/night/second.yaml").write_text(LAB)
    (rings / "pilot/gone.yaml").write_text(PILOT)
    assert promote(rings) == 0
    assert (rings / "pilot/night/second.yaml").read_text() == LAB
    assert (rings / "pilot/gone.yaml").read_text() == PILOT
    said = capsys.readouterr().out.splitlines()
    assert f"new      {rings}/pilot/night/second.yaml" in said
    assert f"left     {rings}/pilot/gone.yaml: ring lab has no such file; remove it by hand" in said


def test_programs_are_told_what_was_done(rings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (rings / "lab/second.yaml").write_text(LAB)
    (rings / "pilot/gone.yaml").write_text(PILOT)
    assert promote(rings, "lab", "pilot", "-o", "json") == 0
    assert [(one["what"], one["file"]) for one in json.loads(capsys.readouterr().out)] == [
        ("changed", f"{rings}/pilot/parts.yaml"),
        ("new", f"{rings}/pilot/second.yaml"),
        ("left", f"{rings}/pilot/gone.yaml"),
    ]


def test_a_dry_run_says_the_same_and_writes_nothing(rings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (rings / "lab/night").mkdir()
    (rings / "lab/night/second.yaml").write_text(LAB)
    assert promote(rings, "lab", "pilot", "--dry-run") == 0
    planned = capsys.readouterr().out
    assert (rings / "pilot/parts.yaml").read_text() == PILOT
    assert not (rings / "pilot/night").exists()
    assert promote(rings) == 0
    assert capsys.readouterr().out == planned


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ring", "lab", "--to", "pilot", "--profile", "box"], "--profile and --all-steps are about an EdgeModel"),
        (["--ring", "lab", "--to", "pilot", "--all-steps"], "--profile and --all-steps are about an EdgeModel"),
        (["parts", "--to", "pilot", "--kubeconfig", "/nowhere"], "--to names a ring; leave it out"),
        (["parts", "--ring", "lab", "--to", "pilot"], "promote takes an EdgeModel, or --ring NAME and --to NAME"),
        (["--ring", "lab"], "promote takes an EdgeModel, or --ring NAME and --to NAME"),
        ([], "promote takes an EdgeModel, or --ring NAME and --to NAME"),
    ],
)
def test_words_for_a_cluster_and_for_a_ring_are_not_mixed(
    words: list[str], sentence: str, rings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["promote", *words, "--directory", str(rings)]) == 1
    assert sentence in capsys.readouterr().err
    assert (rings / "pilot/parts.yaml").read_text() == PILOT


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("lab", "lab", "--to is 'lab', the ring itself; name the next one"),
        ("lib", "pilot", "lib is no directory; a ring is a directory of manifests below --directory"),
        ("lab", "fleet", "fleet is no directory; a ring is a directory of manifests below --directory"),
    ],
)
def test_a_ring_that_cannot_be_meant_is_named(
    rings: Path, before: str, after: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promote(rings, before, after) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: [", "is not YAML"), ("kind: EdgeModel\nspec: {source: {}}\n", "spec is written in one line")],
)
def test_a_file_that_cannot_be_read_leaves_the_ring_as_it_is(
    rings: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (rings / "lab/wrong.yaml").write_text(text)
    (rings / "pilot/wrong.yaml").write_text(PILOT)
    assert promote(rings) == 1
    assert sentence in capsys.readouterr().err
    assert (rings / "pilot/parts.yaml").read_text() == PILOT


def test_the_example_s_rings_are_promoted() -> None:
    example = Path(__file__).resolve().parents[2] / "examples/gitops/rings"
    assert {path.name for path in example.iterdir()} == {"lab", "pilot", "fleet"}
    texts = {(example / ring / "digits.yaml").read_text() for ring in ("lab", "pilot", "fleet")}
    assert len(texts) == 1, "the example begins with the same model everywhere"
