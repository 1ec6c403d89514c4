"""Files of DeviceProfiles are held against all that can be known without a cluster."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import yaml
from wrong_profiles import BEYOND, UNKNOWN, WRONG, changed, right
from yaml_files import documents, read

from edgesmith.api.crd import device_profile_crd
from edgesmith.cli import main
from edgesmith.cli.profile.catalogue import catalogue
from edgesmith.cli.profile.judge import judge
from edgesmith.cli.profile.rules import RULES

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "charts/edgesmith/profiles").glob("*.yaml"))


def messages(schema: dict[str, Any]) -> Iterator[str]:
    yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for inner in below:
        if isinstance(inner, dict):
            yield from messages(inner)


def test_every_rule_of_the_crd_has_its_equivalent_and_no_other_is_there() -> None:
    (version,) = device_profile_crd()["spec"]["versions"]
    assert set(messages(version["schema"]["openAPIV3Schema"])) == set(RULES)


def test_what_is_right_has_no_fault() -> None:
    assert judge(right()).faults == []
    without = right()
    without["spec"] = {key: without["spec"][key] for key in ("nodeSelector", "platform")} | {"runtime": None}
    assert judge(without).faults == [], "the API server takes null for absent"


@pytest.mark.parametrize(("path", "value", "says"), [*WRONG, *UNKNOWN, *BEYOND])
def test_what_is_wrong_is_named_with_its_value(path: str, value: Any, says: str) -> None:
    found = judge(changed(path, value)).faults
    assert len(found) == 1, found
    assert says in found[0]


def test_every_fault_of_a_document_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = changed("spec/platform/architecture", "x86")
    bad["spec"]["hardware"]["memory"] = "0"
    bad["spec"]["toolchain"]["ladder"] = []
    file = tmp_path / "profiles.yaml"
    file.write_text(yaml.safe_dump_all([right("first"), bad, {"kind": "EdgeModel"}, ["text"]]))
    assert main(["profile", "validate", str(file), str(PROFILES[0])]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: document 1, first: valid"
    assert [line for line in lines if line.startswith(f"{file}: document 2, mine: ")] == lines[1:4]
    assert lines[4] == f"{file}: document 3: apiVersion is null; edgesmith.dev/v1alpha1 was expected"
    assert lines[5] == f'{file}: document 3: kind is "EdgeModel"; DeviceProfile was expected'
    assert f'{file}: document 4: it is ["text"]; an object was expected' in lines
    assert lines[-1] == f"{PROFILES[0]}: document 1, {PROFILES[0].stem}: valid"


def test_two_faults_of_one_toolchain_are_two() -> None:
    wrong = right()
    wrong["spec"]["toolchain"] = {"options": {"a": "b"}, "precisions": ["fp16"]}
    assert len(judge(wrong).faults) == 2


@pytest.mark.parametrize("output", ["text", "json"])
def test_the_catalogue_is_right(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "validate", "-o", output, *map(str, PROFILES)]) == 0
    said = capsys.readouterr().out
    if output == "json":
        found = json.loads(said)
        assert [(one["name"], one["faults"]) for one in found] == [(file.stem, []) for file in PROFILES]
    else:
        assert said.count(": valid\n") == len(PROFILES)


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(right())))
    assert main(["profile", "validate", "-"]) == 0
    assert capsys.readouterr().out == "-: document 1, mine: valid\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML: "),
        ("# nothing\n", "contains no object; a DeviceProfile was expected"),
        (None, "cannot be read: "),
    ],
)
def test_a_file_that_is_none_does_not_stop_the_others(
    text: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "profiles.yaml"
    if text is not None:
        file.write_text(text)
    assert main(["profile", "validate", str(file), str(PROFILES[0])]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file} {says}")
    assert last.endswith(": valid")


def test_the_catalogue_of_the_command_line_is_the_charts() -> None:
    charts = [read(file) for file in PROFILES]
    packed = ROOT / "operator/edgesmith/cli/profile/catalogue.yaml"
    assert documents(packed.read_text()) == charts, "run: make generate"
    assert packed.read_text().count("\n---\n") == len(charts)


def test_the_list_shows_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "list"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "NAME", "DEVICE", "ARCH", "TOOLCHAIN", "PRECISIONS", "SERVER", "RESOURCE", "KNOWN", "FROM",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == [file.stem for file in PROFILES]
    pi = next(row for row in rows if row.startswith("raspberry-pi-5"))
    assert re.split(" {3,}", pi) == [
        "raspberry-pi-5", "BCM2712, 4x Cortex-A76", "arm64", "ONNXRuntime", "int8, int8-mixed, int8-dynamic, fp32",
        "Edgesmith", "-", "emulated",
    ]  # fmt: skip


def test_the_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "list", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["profiles"]
    coral = next(one for one in found if one["name"] == "coral-usb")
    assert (coral["resource"], coral["evidence"], coral["precisions"]) == ("squat.ai/edgetpu", "written", "int8")
    assert len(found) == len(catalogue())


def test_an_image_without_the_package_has_a_command_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert main(["profile", "list"]) == 0
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "edgesmith in an image, which its tag names" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    """As in `edgesmith profile list | head -1`: no traceback, and the status that other programs end with."""
    command = [sys.executable, "-m", "edgesmith.cli", "profile", "list", "--output", "json"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
