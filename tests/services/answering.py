"""Asks a served model over HTTP and over gRPC, as clients do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray

from edgesmith_runtime.tensors import datatype_of

Arrays = Mapping[str, NDArray[Any]]


class Served(Protocol):
    """A server on this machine."""

    http: int
    grpc: int


def answered(server: Served, model: str, inputs: Arrays, classes: int = 0) -> dict[str, NDArray[Any]]:
    """What a model answers; both ways must give the same bits.

    Args:
        server: Where it is served.
        model: Its name.
        inputs: An array for each input; text as objects.
        classes: How many best classes to ask for, as text, in place of each output's numbers.
    """
    over_http = _asked(tritonclient.http, server.http, model, inputs, classes)
    over_grpc = _asked(tritonclient.grpc, server.grpc, model, inputs, classes)
    assert over_http.keys() == over_grpc.keys()
    for name, array in over_http.items():
        np.testing.assert_array_equal(array, over_grpc[name], err_msg=name)
    return over_http


def _asked(library: ModuleType, port: int, model: str, inputs: Arrays, classes: int) -> dict[str, NDArray[Any]]:
    sent = []
    for name, array in inputs.items():
        tensor = library.InferInput(name, list(array.shape), datatype_of(array))
        tensor.set_data_from_numpy(array)
        sent.append(tensor)
    with closing(library.InferenceServerClient(f"127.0.0.1:{port}")) as client:
        metadata = client.get_model_metadata(model, **({} if library is tritonclient.http else {"as_json": True}))
        names = [output["name"] for output in metadata["outputs"]]
        wanted = [library.InferRequestedOutput(name, class_count=classes) for name in names]
        found = client.infer(model, sent, outputs=wanted)
        return {name: found.as_numpy(name) for name in names}
