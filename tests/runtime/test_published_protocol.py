"""The Open Inference Protocol as its authors publish it, held against docs/openapi.yaml and a server.

The messages of gRPC are held against it in test_protocol.py.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # it ships no types

from tests.patience import PATIENCE
from tests.runtime.published_protocol import REST, SCHEMAS, Field
from tests.runtime.test_openapi import DOCS, DOCUMENT, EXAMPLE, filled, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import Server

REQUEST = "request"
REMOVED = {"inference_response.parameters"}


def operation_of(method: str, path: str) -> Any:
    return DOCUMENT["paths"].get(path, {}).get(method)


def content_of(operation: Any, part: str) -> Any:
    """What our document says of a request's JSON or of an answer's; None where it does not have it."""
    place = operation["requestBody"] if part == REQUEST else operation["responses"].get(part)
    return None if place is None else resolved(place)["content"]["application/json"]["schema"]


def kind_of(schema: Any) -> str:
    """A schema's JSON type, also where it is told by one value or several."""
    schema = resolved(schema)
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    kinds = {list: "array", str: "string", bool: "boolean", dict: "object"}
    found = {kinds[type(value)] for value in values} or {schema.get("type", "any")}
    (kind,) = found
    return str(kind)


def items_of(schema: Any) -> Any:
    schema = resolved(schema)
    return {"const": schema["const"][0]} if "const" in schema else schema.get("items", {})


def apart(name: str, schema: Any, *, asked: bool) -> Iterator[str]:
    """Where our schema is not as theirs of a name.

    A request of theirs must be taken, so we may require less of it; an answer must hold what theirs does, so we may
    promise more of it.
    """
    schema = resolved(schema)
    assert kind_of(schema) == "object"
    for field, theirs in SCHEMAS[name].items():
        where = f"{name}.{field}"
        ours = schema.get("properties", {}).get(field)
        required = field in schema.get("required", ())
        if ours is None:
            yield f"{where} is not there"
            continue
        if required is not theirs.required and (asked is required or theirs.required):
            yield f"{where} is {'' if required else 'not '}required"
        yield from _apart(where, theirs, ours, asked=asked)


def _apart(where: str, theirs: Field, ours: Any, *, asked: bool) -> Iterator[str]:
    if kind_of(ours) != theirs.kind:
        yield f"{where} is of type {kind_of(ours)}"
    elif theirs.items in SCHEMAS:
        yield from apart(theirs.items, items_of(ours), asked=asked)
    elif theirs.items not in {"", "any"} and kind_of(items_of(ours)) != theirs.items:
        yield f"{where} has elements of type {kind_of(items_of(ours))}"


def differences() -> Iterator[str]:
    for (method, path), parts in REST.items():
        operation = operation_of(method, path)
        if operation is None:
            yield f"{method.upper()} {path} is not there"
            continue
        for part, name in parts.items():
            if part != REQUEST and part not in operation["responses"]:
                yield f"{method.upper()} {path} {part} is not there"
            elif name:
                yield from apart(name, content_of(operation, part), asked=part == REQUEST)


def test_each_difference_from_the_published_paths_is_named_in_the_documentation() -> None:
    section = (DOCS / "runtime.md").read_text().split("### The published protocol\n")[1].split("\n#")[0]
    assert sorted(set(differences())) == sorted(re.findall(r"^- `([^`]+)`: ", section, re.MULTILINE))


def theirs_as_schema(name: str) -> dict[str, Any]:
    """Their schema without what is documented to be otherwise."""
    fields = {field: one for field, one in SCHEMAS[name].items() if f"{name}.{field}" not in REMOVED}
    properties = {
        field: {"type": one.kind}
        | ({"items": theirs_as_schema(one.items) if one.items in SCHEMAS else {"type": one.items}} if one.items else {})
        for field, one in fields.items()
        if one.items != "any"
    }
    properties |= {field: {"type": "array"} for field, one in fields.items() if one.items == "any"}
    return {"type": "object", "required": [f for f, one in fields.items() if one.required], "properties": properties}


BODY = {
    "id": "7",
    "parameters": {"priority": 1},
    "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {}, "data": [[1, 2, 3, 4]]}],
    "outputs": [{"name": "relu", "parameters": {}}],
}
"""A request with every field of theirs."""


@pytest.mark.parametrize("operation", REST, ids=" ".join)
def test_a_server_answers_as_published(toy_server: Server, operation: tuple[str, str]) -> None:
    method, path = operation
    parts = REST[operation]
    assert not [*Draft202012Validator(theirs_as_schema("inference_request")).iter_errors(BODY)]
    body = json.dumps(BODY) if REQUEST in parts else None
    with closing(HTTPConnection("127.0.0.1", toy_server.http, timeout=PATIENCE)) as connection:
        connection.request(method.upper(), filled(path, EXAMPLE | {"model": "toy"}), body)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200, said
        if parts["200"]:
            assert not [*Draft202012Validator(theirs_as_schema(parts["200"])).iter_errors(said)]
        if REQUEST in parts:
            assert said["id"] == "7"
            assert "parameters" not in said
            connection.request("POST", filled(path, EXAMPLE | {"model": "toy"}), "{}")
            answer = connection.getresponse()
            assert answer.status == 400
            said = json.loads(answer.read())
            assert not [*Draft202012Validator(theirs_as_schema(parts["400"])).iter_errors(said)]
