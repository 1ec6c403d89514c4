"""The gRPC messages: generated from what is committed, and the same on the wire as everybody's."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc  # type: ignore[import-untyped] # it ships no types
from tritonclient.grpc import service_pb2

from edgesmith_runtime.extensions import REFUSED_CALLS
from edgesmith_runtime.version import VERSION
from tests.runtime import published_protocol

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path("edgesmith_runtime/protocol")


def test_the_generated_files_are_those_of_the_proto(tmp_path: Path) -> None:
    subprocess.run([sys.executable, REPOSITORY / "hack/generate_protocol.py", tmp_path], check=True)
    written = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    assert written == ["inference_pb2.py", "inference_pb2.pyi"]
    for name in written:
        assert (tmp_path / FOLDER / name).read_text() == (REPOSITORY / "runtime" / FOLDER / name).read_text()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our messages in a pool of their own: two files cannot define one name in the same pool."""
    target = tmp_path_factory.mktemp("proto") / "set.bin"
    source = REPOSITORY / "runtime" / FOLDER / "inference.proto"
    assert protoc.main(["", f"-I{source.parent}", f"--descriptor_set_out={target}", str(source)]) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file:
        pool.Add(file)
    return pool


def _fields(message: Any) -> dict[str, tuple[int, int, bool, str]]:
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.full_name if field.message_type else "",
        )
        for field in message.fields
    }


MESSAGES = [
    "ServerLiveRequest", "ServerLiveResponse", "ServerReadyRequest", "ServerReadyResponse", "ModelReadyRequest",
    "ModelReadyResponse", "ServerMetadataRequest", "ServerMetadataResponse", "ModelMetadataRequest",
    "ModelMetadataResponse", "ModelMetadataResponse.TensorMetadata", "InferParameter", "InferTensorContents",
    "ModelInferRequest", "ModelInferRequest.InferInputTensor", "ModelInferRequest.InferRequestedOutputTensor",
    "ModelInferResponse", "ModelInferResponse.InferOutputTensor", "ModelConfigRequest", "ModelConfigResponse",
    "ModelStreamInferResponse", "ModelStatisticsRequest", "ModelStatisticsResponse", "ModelStatistics",
    "StatisticDuration", "InferStatistics", "InferResponseStatistics", "InferBatchStatistics", "MemoryUsage",
    "RepositoryIndexRequest", "RepositoryIndexResponse", "RepositoryIndexResponse.ModelIndex",
]  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_tritonclients_on_the_wire(ours: Any, name: str) -> None:
    theirs = service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{name}")
    assert _fields(ours.FindMessageTypeByName(f"inference.{name}")) == _fields(theirs)


@pytest.mark.parametrize("name", ["ModelConfig", "ModelInput", "ModelOutput"])
def test_what_is_said_of_a_configuration_is_tritonclients_on_the_wire(ours: Any, name: str) -> None:
    theirs = _fields(service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{name}"))
    for field, form in _fields(ours.FindMessageTypeByName(f"inference.{name}")).items():
        assert form == theirs[field]


def test_the_numbers_of_types_are_tritonclients(ours: Any) -> None:
    numbers = [
        {value.name: value.number for value in pool.FindEnumTypeByName("inference.DataType").values}
        for pool in (ours, service_pb2.DESCRIPTOR.pool)
    ]
    assert numbers[0] == numbers[1]


def test_the_calls_are_tritonclients(ours: Any) -> None:
    theirs = service_pb2.DESCRIPTOR.pool.FindServiceByName("inference.GRPCInferenceService")
    for method in ours.FindServiceByName("inference.GRPCInferenceService").methods:
        other = theirs.FindMethodByName(method.name)
        assert method.input_type.full_name == other.input_type.full_name
        assert method.output_type.full_name == other.output_type.full_name
        assert (method.client_streaming, method.server_streaming) == (other.client_streaming, other.server_streaming)


def test_every_call_of_tritonclient_is_answered_or_refused(ours: Any) -> None:
    theirs = service_pb2.DESCRIPTOR.pool.FindServiceByName("inference.GRPCInferenceService")
    served = {method.name for method in ours.FindServiceByName("inference.GRPCInferenceService").methods}
    assert served.isdisjoint(REFUSED_CALLS)
    assert served | set(REFUSED_CALLS) == {method.name for method in theirs.methods}


_KINDS = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes", 13: "uint32",
}  # fmt: skip
"""Of `google.protobuf.descriptor.FieldDescriptor`."""


def _written(message: Any) -> str:
    """A message of ours in the form of `published_protocol.MESSAGES`."""
    found = []
    for field in sorted(message.fields, key=lambda one: one.number):
        words = [field.name, str(field.number)]
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            key, value = inner.fields_by_name["key"], inner.fields_by_name["value"]
            assert _KINDS[key.type] == "string"
            words += ["map", value.message_type.full_name]
        else:
            words += ["repeated"] * field.is_repeated + ["oneof"] * (field.containing_oneof is not None)
            words.append(_KINDS[field.type] if inner is None else inner.full_name)
        found.append(" ".join(words).replace("inference.", ""))
    return ", ".join(found)


@pytest.mark.parametrize("name", published_protocol.MESSAGES)
def test_a_message_is_the_published_one(ours: Any, name: str) -> None:
    assert _written(ours.FindMessageTypeByName(f"inference.{name}")) == published_protocol.MESSAGES[name]


@pytest.mark.parametrize("name", published_protocol.CALLS)
def test_a_call_is_the_published_one(ours: Any, name: str) -> None:
    method = ours.FindServiceByName("inference.GRPCInferenceService").FindMethodByName(name)
    assert method.input_type.full_name == f"inference.{name}Request"
    assert method.output_type.full_name == f"inference.{name}Response"
    assert not method.client_streaming
    assert not method.server_streaming


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == VERSION
