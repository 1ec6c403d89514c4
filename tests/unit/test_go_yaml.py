"""YAML is written and read as kubectl reads it, whose reader takes other texts for numbers than PyYAML."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from services import tool

from edgesmith.api import go_yaml
from edgesmith.archive.artifacts import manifests_of
from edgesmith.cli.documents import DocumentError, load, read

NUMBERS = """
0 0, 12 12, -7 -7, +7 7, 017 15, 0o17 15, 0O17 15, -0o17 -15, 0128 128, 00 0, 0b1 1, 0B11 3, -0b11 -3, 0b-1 -1, 0x1F 31,
0X1f 31, -0x1f -31, 0_x1 1, 1_000 1000, 1__0_ 10, 1e-3 0.001, 1e3 1000, 12345e6 12345000000, 12345678e1 123456780,
1E+2 100, 1.5e-1 0.15, 1e-999 0, .5 0.5, -.5 -0.5, .5_0 0.5, .5e1 5, 5. 5, 1.0 1, 1.50 1.5, 1_0.5 10.5, -0.0 0,
9223372036854775807 9223372036854775807, -9223372036854775808 -9223372036854775808
"""
READ: dict[str, Any] = {
    **dict.fromkeys(["y", "Y", "yes", "on", "On", "true", "TRUE"], True),
    **dict.fromkeys(["n", "N", "no", "off", "OFF", "false", "False"], False),
    **dict.fromkeys(["~", "null", "NULL"]),
    **{text: json.loads(value) for text, value in map(str.split, NUMBERS.split(","))},
}
"""What is no text without quotes."""
WORDS = """
22:00 1:30:00 1.5:30 2030-01-01 2030-1-1 2030-01-01T00:00:00Z = yEs nO oN tRUE 1e e1 1e400 0x 0xg 0b 0b2 0o8 0o_ _1 ._5
.5_ .5__0 + . 1.2.3 1-2 0x1FFFFFFFFFFFFFFFFF 1e3s 50% 10Gi --lr a/b s3://m/a.onnx v1 nan inf .Nan é
127.0.0.1:5000/a@sha256:0a 5d01d8e0a3 001e2a3b4c
"""
PLAIN = WORDS.split()
"""Texts that need no quotes for YAML's sake."""
TEXTS = (*PLAIN, "-", "a: b", "# a", "- a", "", " a ", "a\nb", "*a", "!a", "x y")


def as_kubectl(file: Path) -> dict[str, Any]:
    """The object of a file as kubectl reads it; no cluster is asked."""
    line = [str(tool("kubectl")), "label", "--local", "-f", str(file), "read=it", "-o", "json"]
    found = json.loads(subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert isinstance(found, dict)
    return found


def edge_model(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "edgesmith.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": "parts", "namespace": "plant", "labels": {"commit": "12345e6"}},
        "spec": spec,
    }


ALL = edge_model(texts=[*READ, *TEXTS], keys=dict.fromkeys([*READ, *TEXTS], "value"), more=[1, 1.5, 1e-05, True, None])


def written(*objects: dict[str, Any]) -> str:
    async def content() -> bytes:
        return b"".join([piece async for piece in manifests_of(list(objects)).blobs[1].stream(0)])

    return asyncio.run(content()).decode()


def test_what_go_takes_for_no_text_is_quoted_in_values_and_in_keys() -> None:
    for text in (*READ, *TEXTS):
        dumped = yaml.dump({text: [text]}, Dumper=go_yaml.Dumper)
        assert yaml.safe_load(dumped) == {text: [text]}
        plain = dumped.startswith((f"{text}:\n", f"? {text}\n")) or f"- {text}\n" in dumped
        assert not plain or (text not in READ and not text.startswith("2030-")), dumped


@pytest.mark.parametrize(
    "text", ["a/b", "s3://m/a.onnx", "127.0.0.1:5000/a@sha256:0a", "5d01d8e0a3", "10Gi", "50%", "v1", "--lr", "1.2.3"]
)
def test_what_every_reader_takes_for_text_has_no_quotes(text: str) -> None:
    assert yaml.dump([text], Dumper=go_yaml.Dumper) == f"- {text}\n"


def test_manifests_of_an_archive_are_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(written(ALL, ALL))
    assert read(str(tmp_path / "all.yaml")) == [ALL, ALL]
    assert list(yaml.safe_load_all(written(ALL, ALL))) == [ALL, ALL]


def test_kubectl_reads_the_manifests_of_an_archive_as_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(written(ALL))
    found = as_kubectl(tmp_path / "all.yaml")
    assert found["metadata"]["labels"] == {"commit": "12345e6", "read": "it"}
    assert found["spec"] == ALL["spec"]


def without_quotes(texts: list[str]) -> str:
    lines = "".join(f"  - {text}\n" for text in texts)
    return f"apiVersion: edgesmith.dev/v1alpha1\nkind: EdgeModel\nmetadata: {{name: a}}\nspec:\n  texts:\n{lines}"


def test_a_file_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(without_quotes([*READ, *PLAIN]))
    (document,) = load(str(file))
    found = document["spec"]["texts"]
    assert found == [*READ.values(), *PLAIN]
    assert [type(one) for one in found] == [type(one) for one in (*READ.values(), *PLAIN)]


def test_kubectl_reads_the_same_file_so(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(without_quotes([*READ, *PLAIN]))
    found = as_kubectl(file)["spec"]["texts"]
    assert found == [*READ.values(), *PLAIN]
    assert [type(one) for one in found] == [type(one) for one in (*READ.values(), *PLAIN)]


def test_a_tag_is_held_against_its_value(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text('[!!str y, !!float 3, !!int "3", !!bool y, "y", !!null ~]')
    assert load(str(file)) == [["y", 3, 3, True, "y", None]]
    file.write_text("a: !!int 1.5")
    with pytest.raises(DocumentError, match=r"line 1, column 4: '1.5' has the tag !!int, and is none"):
        load(str(file))
    file.write_text("y: a")
    with pytest.raises(DocumentError, match="has the key True; text was expected"):
        load(str(file))
