"""Asks a served model over HTTP and over gRPC, as clients do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray

from edgesmith_runtime.tensors import datatype_of

Answer = dict[str, NDArray[Any]]
Asked = Callable[[Mapping[str, NDArray[Any]]], Answer]

PROTOCOLS = {"http": tritonclient.http, "grpc": tritonclient.grpc}


class Served(Protocol):
    """A server's ports."""

    http: int
    grpc: int


def answered(server: Served, model: str, inputs: Mapping[str, NDArray[Any]], classes: int = 0) -> Answer:
    """What a model answers; both ways must give the same bits.

    Args:
        server: Where it is served.
        model: Its name.
        inputs: An array for each input; text as objects.
        classes: How many best classes to ask for, as text, in place of each output's numbers.
    """
    answers = []
    for protocol in PROTOCOLS:
        with asking(server, model, protocol, classes) as ask:
            answers.append(ask(inputs))
    one, other = answers
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
    return one


@contextmanager
def asking(server: Served, model: str, protocol: str, classes: int = 0, *, host: str = "127.0.0.1") -> Iterator[Asked]:
    """One client that asks again and again; see `answered`, `protocol` is one of `PROTOCOLS`."""
    library: ModuleType = PROTOCOLS[protocol]
    options = {} if protocol == "http" else {"as_json": True}
    with closing(library.InferenceServerClient(f"{host}:{getattr(server, protocol)}")) as client:
        names = [output["name"] for output in client.get_model_metadata(model, **options)["outputs"]]
        wanted = [library.InferRequestedOutput(name, class_count=classes) for name in names]

        def ask(inputs: Mapping[str, NDArray[Any]]) -> Answer:
            sent = []
            for name, array in inputs.items():
                tensor = library.InferInput(name, list(array.shape), datatype_of(array))
                tensor.set_data_from_numpy(array)
                sent.append(tensor)
            found = client.infer(model, sent, outputs=wanted)
            return {name: found.as_numpy(name) for name in names}

        yield ask
