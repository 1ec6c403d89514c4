"""The language example: its files are as its page says, and a ticket that is sent comes back with its fault."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from answering import answered
from pulled import pulled

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.fraction import parse_fraction
from edgesmith.api.source import ModelFile
from edgesmith_builder.cli import chosen
from edgesmith_builder.contract import Artifact, Gates, Toolchain
from edgesmith_builder.errors import NoCandidate
from tests.patience import PATIENCE

Script = Callable[[str], ModuleType]
FOLDER = Path(__file__).resolve().parents[2] / "examples" / "language"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `model.onnx` \| (?P<precision>fp32|int8) \| (?P<accuracy>0\.\d{4}) \| ", re.MULTILINE)
FILES = ("calibration.npz", "evaluation.npz", "labels.txt", "model.onnx")
FAULTS = (FOLDER / "labels.txt").read_text(encoding="utf-8").splitlines()


def tickets() -> tuple[Any, Any]:
    """The evaluation set: text as objects, as clients have it, and labels."""
    with np.load(FOLDER / "evaluation.npz", allow_pickle=False) as archive:
        return archive["text"].astype(np.object_), archive["labels"]


def test_digests_and_sizes_are_those_of_the_files() -> None:
    model = EdgeModel.model_validate(yaml.safe_load((FOLDER / "edgemodel.yaml").read_text()))
    for part in (model.spec.source, model.spec.calibration, model.spec.evaluation):
        assert part is not None
        file = FOLDER / part.uri.rsplit("/", 1)[1]
        assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest(), file.name
        if isinstance(part, ModelFile):
            assert part.bytes == file.stat().st_size, file.name


def test_what_is_committed_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 200_000


@pytest.mark.parametrize(
    "disabled", ["", pytest.param("X86_V3 X86_V4", marks=pytest.mark.long)], ids=["this processor", "an older one"]
)
def test_everything_is_remade_byte_for_byte(tmp_path: Path, disabled: str) -> None:
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, str(FOLDER / "train.py"), "--out", str(tmp_path)], check=True, env=environment)
    for name in FILES:
        if name.endswith(".npz"):  # arrays rather than files: another zlib compresses the same bytes differently
            with np.load(FOLDER / name) as committed, np.load(tmp_path / name) as again:
                assert {key: again[key].tobytes() for key in again} == {
                    key: committed[key].tobytes() for key in committed
                }
        else:
            assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_the_model_is_of_standard_operators_alone() -> None:
    model = onnx.load(FOLDER / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.domain for node in model.graph.node] == [""] * 5
    assert json.loads({entry.key: entry.value for entry in model.metadata_props}["labels"]) == FAULTS


def test_no_ticket_is_in_both_sets_and_some_wordings_are_new(script: Script) -> None:
    made = script("language/tickets.py")
    seen = {text for split in ("training", "calibration") for text in made.make_set(split, 4000)[0].tolist()}
    texts, labels = tickets()
    assert len(seen & set(texts.tolist())) < len(texts) / 20, "short tickets may repeat"
    taught = " ".join(seen).lower()
    new = [words for wordings in made._WORDINGS.values() for words in wordings if words not in taught]
    assert len(new) == 2 * len(FAULTS)
    assert set(labels.tolist()) == set(range(len(FAULTS)))
    with pytest.raises(ValueError, match="split is 'test', expected one of training, calibration, evaluation"):
        made.make_set("test", 1)


def test_accuracy_is_what_the_page_says(script: Script) -> None:
    page = {row["precision"]: float(row["accuracy"]) for row in ROW.finditer(PAGE)}
    measured = {precision: share for _, precision, share, _ in script("_training/score.py").rows(FOLDER)}
    assert measured.keys() == page.keys() == {"fp32", "int8"}
    assert measured == pytest.approx(page, abs=3 / 1000)
    assert 0.8 < measured["fp32"] < 0.95
    assert measured["fp32"] - measured["int8"] < 0.01


def request(world: Any, **changes: Any) -> Any:
    """The build that the example's own resource asks for."""
    wanted = EdgeModel.model_validate(yaml.safe_load((FOLDER / "edgemodel.yaml").read_text())).spec
    assert wanted.evaluation is not None
    files = {"source": "model.onnx", "calibration": "calibration.npz", "evaluation": "evaluation.npz"}
    fields = {
        field: Artifact(uri=world.store.put(f"tickets/{name}", (FOLDER / name).read_bytes()))
        for field, name in files.items()
    }
    drop, least = wanted.gates.max_accuracy_drop, wanted.gates.min_accuracy
    assert drop is not None
    assert least is not None
    gates = Gates(max_accuracy_drop=parse_fraction(drop), min_accuracy=parse_fraction(least))
    return world.request(**{"metric": wanted.evaluation.metric, "gates": gates, **fields, **changes})


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_a_ticket_that_is_sent_comes_back_with_its_fault(
    precision: str, world: Any, start_server: Any, tmp_path: Path
) -> None:
    wanted = request(world, precisions=(precision,))
    built = await world.build(wanted)
    assert chosen(built, wanted.gates) == built.image
    assert [one.precision for one in built.report.finalists] == [precision]
    server = start_server(await pulled(built.image, tmp_path / "image"), "--name", "tickets", "--max-batch", "1000")
    texts, labels = tickets()

    found = answered(server, "tickets", {"text": texts})["probabilities"].argmax(1)
    assert float((found == labels).mean()) == pytest.approx(0.87, abs=0.01)
    best = answered(server, "tickets", {"text": texts[:50]}, classes=1)["probabilities"]
    assert [text[0].decode().split(":")[2] for text in best] == [FAULTS[number] for number in found[:50]]
    odd = np.array(["", " ", "öl läuft aus 漏油 🛢", "x" * 10_000], np.object_)
    assert np.isfinite(answered(server, "tickets", {"text": odd})["probabilities"]).all()

    if precision == "fp32":
        (body,) = re.findall(r"-d '(\{.*?\})'\n", PAGE, re.DOTALL)
        (answer,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
        assert said(ask(server.http, body)) == said(json.loads(answer))


def ask(port: int, body: str) -> Any:
    """What `curl` of the page is answered."""
    address = f"http://127.0.0.1:{port}/v2/models/tickets/infer"
    with urllib.request.urlopen(urllib.request.Request(address, body.encode()), timeout=PATIENCE) as answer:
        return json.load(answer)


def said(answer: Any) -> Any:
    """An answer with its best classes apart and their scores to four digits: the last ones are the processor's."""
    (output,) = answer.pop("outputs")
    best = [(text.partition(":")[2], round(float(text.partition(":")[0]), 4)) for text in output.pop("data")]
    return answer, output, best


async def test_openvino_says_which_operators_it_does_not_read(world: Any) -> None:
    wanted = request(world, toolchain=Toolchain(name="OpenVINO", precisions=("fp32",)))
    with pytest.raises(NoCandidate, match=r"does not read it \(.*StringNormalizer.*StringSplit.*TfIdfVectorizer"):
        await world.build(wanted)
