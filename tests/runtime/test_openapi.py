"""docs/openapi.yaml and a server: requests made of it are answered as it says, and it says of every page there is."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # it ships no types
from pictures import CLASSIFIED, DETECTED, colours, painted, picture_bundle, png, squares

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.drift.verdict import Verdict
from edgesmith_runtime.drift.watch import State
from edgesmith_runtime.tensors import DTYPES
from tests.patience import PATIENCE
from tests.runtime.conftest import Server, StartServer

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "openapi.yaml").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    (path, method): one[method]
    for path, one in DOCUMENT["paths"].items()
    for method in one
    if method in {"get", "post"}
}
LENGTH = "Inference-Header-Content-Length"
Json = st.SearchStrategy[Any]


def resolved(entry: Any) -> Any:
    """What a reference is about."""
    while isinstance(entry, dict) and "$ref" in entry:
        found: Any = DOCUMENT
        for part in entry["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        entry = found
    return entry


def validator(schema: Any) -> Any:
    return Draft202012Validator(schema | {"components": DOCUMENT["components"]})


ANY_JSON: Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def fitting(schema: Any) -> Json:
    """Documents that mostly fit a schema; where it has examples, mostly those."""
    schema = resolved(schema)
    if schema is True or schema == {}:
        return ANY_JSON
    if schema is False:
        return st.none()
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema.get("examples", []) * 8 + schema["enum"])
    plain = _plain(schema)
    examples = schema.get("examples")
    return st.one_of(*[st.sampled_from(examples)] * 6, plain) if examples else plain


def _plain(schema: Any) -> Json:
    kind = schema.get("type")
    match kind if not isinstance(kind, list) else "several":
        case "object":
            required = {name: fitting(schema["properties"][name]) for name in schema.get("required", ())}
            named = {name: fitting(one) for name, one in schema.get("properties", {}).items() if name not in required}
            return st.fixed_dictionaries(required, optional=named)
        case "array":
            return st.lists(fitting(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "string":
            return st.text(max_size=20)
        case "boolean":
            return st.booleans()
    return st.one_of(st.booleans(), st.integers(), st.text(max_size=8))


def _inside(document: Any) -> list[Any]:
    nested = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return [document] * isinstance(document, dict | list) + [place for one in nested for place in _inside(one)]


@st.composite
def spoilt(draw: st.DrawFn, schema: Any) -> Any:
    """Documents that fit but for up to two places."""
    if draw(st.integers(0, 19)) == 0:
        return draw(ANY_JSON)
    document = json.loads(json.dumps(draw(fitting(schema))))
    for _ in range(draw(st.integers(0, 2))):
        places = _inside(document)
        if not places:
            return draw(ANY_JSON)
        place = draw(st.sampled_from(places))
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            continue
        key = draw(st.sampled_from(keys))
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(ANY_JSON)
    return document


@pytest.fixture(scope="module")
def server(toy: Bundle, start_module_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of the model that the document's examples are about."""
    folder = tmp_path_factory.mktemp("openapi") / "digits"
    shutil.copytree(toy.folder, folder)
    return start_module_server(folder)


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[HTTPConnection]:
    """One connection for all requests."""
    made = HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)
    yield made
    made.close()


def asked(
    connection: HTTPConnection, operation: tuple[str, str], path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    """Ask, and hold the answer against what the document says of the operation; the status and the JSON."""
    connection.request(operation[1].upper(), path, body, headers)
    return answered(connection, OPERATIONS[operation], f"{operation[1]} {path}")


def answered(connection: HTTPConnection, operation: Any, what: str) -> tuple[int, Any]:
    answer = connection.getresponse()
    data = answer.read()
    described = operation["responses"].get(str(answer.status))
    assert described is not None, f"{what} answered {answer.status} {data[:200]!r}, which is not described"
    kind = (answer.headers["Content-Type"] or "").partition(";")[0]
    content = resolved(described)["content"]
    assert kind in content, f"{what} answered {kind}, which is not described"
    if kind.startswith("text/"):
        return answer.status, data.decode()
    length = int(answer.headers[LENGTH]) if LENGTH in answer.headers else len(data)
    document = json.loads(data[:length])
    schema = content[kind].get("schema", {"$ref": "#/components/schemas/InferResponse"})
    errors = [error.message for error in validator(schema).iter_errors(document)]
    assert not errors, f"{what} answered {document}"
    if schema["$ref"].endswith("InferResponse"):
        binary = sum(output.get("parameters", {}).get("binary_data_size", 0) for output in document["outputs"])
        assert length + binary == len(data)
        for output in document["outputs"]:
            assert "data" not in output or len(output["data"]) == math.prod(output["shape"])
    return answer.status, document


def filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: quote(values[found[1]], safe=""), path)


EXAMPLE = {"model": "digits", "version": "1"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    for example in SCHEMAS[name].get("examples", ()):
        assert validator(SCHEMAS[name]).is_valid(example)


def test_every_reference_leads_somewhere() -> None:
    for found in re.findall(r'\$ref: "(#[^"]+)"', (DOCS / "openapi.yaml").read_text()):
        assert resolved({"$ref": found})


def test_it_has_the_pages_of_the_documentation() -> None:
    table = (DOCS / "runtime.md").read_text().split("## Pages")[1].split("\n\n")[1]
    listed = {
        (address.replace("NAME", "{model}"), method.lower())
        for line in table.splitlines()[2:]
        for cells in [[cell.strip() for cell in line.split("|")]]
        for address in re.findall(r"`([^`]+)`", cells[1])
        for method in cells[2].split(", ")
    }
    assert {operation for operation in OPERATIONS if "{version}" not in operation[0]} == listed
    for path, method in OPERATIONS:
        if path.startswith("/v2/models/{model}") and "{version}" not in path:
            assert (path.replace("{model}", "{model}/versions/{version}"), method) in OPERATIONS


def test_it_has_the_datatypes() -> None:
    assert SCHEMAS["Datatype"]["enum"] == list(DTYPES)


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_page_answers(connection: HTTPConnection, operation: tuple[str, str]) -> None:
    path, method = operation
    body = None
    if path.endswith("infer"):
        body = json.dumps(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
        ).encode()
    pictures = path.endswith("image")  # the model does not take them
    absent = pictures or path == "/drift"
    assert asked(connection, operation, filled(path, EXAMPLE), body)[0] == (404 if absent else 200)
    if (path, "get") == operation or not pictures:
        other = "PUT" if pictures else {"get": "POST", "post": "GET"}[method]
        connection.request(other, filled(path, EXAMPLE), b"")
        status, said = answered(connection, OPERATIONS[path, "post" if pictures else method], "another method")
        assert status == 405
        assert f"method {other} is not allowed here" in said["error"]
    if "{model}" in path:
        assert asked(connection, operation, filled(path, EXAMPLE | {"model": "other"}), body)[0] == 404
    if "{version}" in path:
        assert asked(connection, operation, filled(path, EXAMPLE | {"version": "2"}), body)[0] == 404


@pytest.mark.parametrize("state", State)
def test_a_verdict_is_as_described(state: State) -> None:
    verdict = Verdict("0123456789ab", state, 1_700_000_000, 5, (("mean of x", 0.5, 0.1),))
    assert validator(SCHEMAS["Drift"]).is_valid(json.loads(verdict.write()))


PICTURES = {"labels": ("colours", CLASSIFIED, colours), "boxes": ("squares", DETECTED, squares)}


@pytest.mark.parametrize("found", PICTURES)
def test_pictures_are_answered_as_described(tmp_path: Path, start_server: StartServer, found: str) -> None:
    name, picture, make = PICTURES[found]
    server = start_server(picture_bundle(tmp_path / name, make(tmp_path / f"{name}.onnx"), picture).folder)
    path = "/v2/models/{model}/versions/{version}/image"
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as client:
        where = filled(path, {"model": name, "version": "1"})
        assert asked(client, (path, "get"), where)[0] == 200
        status, said = asked(client, (path, "post"), where, png(painted(64, 64, ((8, 8, 24, 24), (250, 20, 20)))))
        assert status == 200
        assert said[found]
        assert asked(client, (path, "post"), where, b"no picture")[0] == 400
    assert server.stop() == 0


INFER = ("/v2/models/{model}/infer", "post")
QUICK = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@QUICK
@given(document=spoilt(SCHEMAS["InferRequest"]))
def test_inferences_are_answered_as_described(connection: HTTPConnection, document: Any) -> None:
    body = json.dumps(document).encode()
    status, _ = asked(connection, INFER, filled(INFER[0], EXAMPLE), body)
    if not validator(SCHEMAS["InferRequest"]).is_valid(document):
        assert status == 400, f"the schema refuses {document}"
    else:
        assert status in {200, 400, 503}


@QUICK
@given(rows=st.integers(1, 8), document=fitting(SCHEMAS["InferRequest"]), binary=st.booleans())
def test_what_fits_the_model_is_answered(connection: HTTPConnection, rows: int, document: Any, binary: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": [1.5] * (rows * 4)}
    names = dict.fromkeys(one["name"] for one in document.get("outputs", ()) if one["name"] in {"relu", "softmax"})
    kept = {one["name"]: one for one in document.get("outputs", ()) if one["name"] in names}
    document |= {"inputs": [tensor], "outputs": list(kept.values())}
    document.get("parameters", {}).pop("timeout", None)
    headers, tail = {}, b""
    if binary:
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": rows * 16}
        tail = b"\0\0\xc0\x3f" * (rows * 4)
        headers = {LENGTH: str(len(json.dumps(document).encode()))}
    for one in document["outputs"]:
        one.get("parameters", {}).pop("shared_memory_region", None)
    body = json.dumps(document).encode()
    headers = {LENGTH: str(len(body))} if binary else headers
    status, said = asked(connection, INFER, filled(INFER[0], EXAMPLE), body + tail, **headers)
    assert status == 200, said
    assert said.get("id", "") == document.get("id", "")
    assert [one["name"] for one in said["outputs"]] == (list(kept) or ["relu", "softmax"])


@QUICK
@given(document=spoilt(SCHEMAS["IndexRequest"]))
def test_the_index_is_answered_as_described(connection: HTTPConnection, document: Any) -> None:
    status, _ = asked(
        connection, ("/v2/repository/index", "post"), "/v2/repository/index", json.dumps(document).encode()
    )
    assert status == (200 if validator(SCHEMAS["IndexRequest"]).is_valid(document) else 400)


@QUICK
@given(
    operation=st.sampled_from(sorted(OPERATIONS)),
    model=fitting(DOCUMENT["components"]["parameters"]["model"]["schema"]),
    version=fitting(DOCUMENT["components"]["parameters"]["version"]["schema"]),
)
def test_any_names_are_answered_as_described(
    connection: HTTPConnection, operation: tuple[str, str], model: str, version: str
) -> None:
    path, method = operation
    if not (model and version) or {model, version} & {".", ".."}:
        return  # these are other paths
    status, _ = asked(
        connection, operation, filled(path, {"model": model, "version": version}), b"" if method == "post" else None
    )
    if "{model}" in path and (model != "digits" or ("{version}" in path and version != "1")):
        assert status == 404
