"""One picture in, labels or boxes out: what ``/v2/models/NAME/image`` answers."""

from __future__ import annotations

import time
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgesmith_runtime.codec.jsontext import json_bytes
from edgesmith_runtime.errors import BadRequest, NotFound
from edgesmith_runtime.http.encodings import ENCODINGS, inflate
from edgesmith_runtime.http.messages import Request, Response, json_response
from edgesmith_runtime.http.multipart import FORM_TYPE, file_of
from edgesmith_runtime.inference import inference
from edgesmith_runtime.picture import Pipeline, document_of
from edgesmith_runtime.signature import VERSION, InferRequest, RequestedOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edgesmith_runtime.picture.pipeline import Prepared
    from edgesmith_runtime.service import LoadedModel, Service

__all__ = ["declared", "picture_job"]


def declared(model: LoadedModel) -> Response:
    """Say how pictures are taken, as the bundle declares it.

    Raises:
        NotFound: It declares nothing.
    """
    document = document_of(_pipeline(model).picture)
    document.pop("golden", None)
    return json_response(document)


def picture_job(
    service: Service, model: LoadedModel, request: Request, *, body_limit: int, pixel_limit: int
) -> Callable[[bool], Response]:
    """Make a job for the engine's threads of a request with a picture.

    Args:
        service: What runs the model.
        model: The model.
        request: The request; its body is a picture, or a form with one.
        body_limit: The most bytes that the body may have once inflated.
        pixel_limit: The most bytes that the picture's pixels may have, three for each.

    Raises:
        NotFound: The model's bundle declares no picture.
        BadRequest: The body's encoding is not known.
    """
    pipeline = _pipeline(model)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity" and encoding not in ENCODINGS:
        raise BadRequest(f"Content-Encoding is {encoding[:100]!r}; expected {', '.join(ENCODINGS)} or identity")
    content_type = request.headers.get("content-type", "")
    outputs = tuple(RequestedOutput(name, binary=True) for name in pipeline.picture.outputs)

    prepared: list[Prepared] = []
    times: list[float] = []

    def decode() -> InferRequest:
        times.append(time.perf_counter())
        body = request.body if encoding == "identity" else inflate(request.body, encoding, body_limit)
        if content_type.lower().startswith(FORM_TYPE):
            body = file_of(body, content_type)
        prepared.append(pipeline.prepare(body, largest=pixel_limit))
        times.append(time.perf_counter())
        return InferRequest("", prepared[0].feed, outputs)

    def encode(_: InferRequest, answers: Mapping[str, NDArray[Any]]) -> Response:
        times.append(time.perf_counter())
        (one,) = prepared
        found = pipeline.answer(answers, one.placed)
        times.append(time.perf_counter())
        spent = [round((after - before) * 1000, 3) for before, after in pairwise(times)]
        width, height = one.placed.picture
        document = {
            "model_name": model.signature.name,
            "model_version": VERSION,
            "picture": {"width": width, "height": height, "format": one.format},
            **found,
            "milliseconds": dict(zip(("decode", "model", "answer"), spent, strict=True)),
        }
        return Response(HTTPStatus.OK, [json_bytes(document)])

    return inference(service, model, since=request.received, decode=decode, encode=encode)


def _pipeline(model: LoadedModel) -> Pipeline:
    if model.pipeline is None:
        raise NotFound(
            f"model {model.signature.name!r} does not say how a picture becomes its input; expected spec.picture in "
            "its EdgeModel, or tensors at /infer"
        )
    return model.pipeline
