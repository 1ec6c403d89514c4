"""The pages: the Open Inference Protocol's, ``/metrics``, and those for pictures and people."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from edgesmith_runtime.codec.http import decode_request, encode_answer
from edgesmith_runtime.codec.jsontext import parsed
from edgesmith_runtime.errors import (
    AnswerFailed,
    BadRequest,
    NotFound,
    RequestError,
    TooLarge,
    Unavailable,
    Unsupported,
    shown,
)
from edgesmith_runtime.extensions import REFUSED, model_statistics, repository_index
from edgesmith_runtime.http.encodings import ENCODINGS, accepted_encoding, deflate, inflate
from edgesmith_runtime.http.limits import CROWDED
from edgesmith_runtime.http.messages import JSON_TYPE, Request, Response, error_response, json_response
from edgesmith_runtime.http.page import front_page
from edgesmith_runtime.http.pictures import declared, picture_job
from edgesmith_runtime.inference import inference
from edgesmith_runtime.modelconfig import model_config
from edgesmith_runtime.service import EXTENSIONS, SERVER_NAME, Service
from edgesmith_runtime.signature import VERSION
from edgesmith_runtime.version import VERSION as SERVER_VERSION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edgesmith_runtime.signature import InferRequest
    from edgesmith_runtime.tensors import TensorSpec

__all__ = ["HttpApi"]

_log: Final = logging.getLogger(__name__)

_MODEL: Final = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<action>/ready|/infer|/image|/config|/stats)?"
)
_INDEX: Final = re.compile(r"/v2/repository(?:/(?P<repository>[^/]+))?/index")
_REFUSED: Final = re.compile(
    r"/v2/(?:repository(?:/[^/]+)?/models/[^/]+/(?P<load>load|unload)"
    r"|(?:system|cuda)(?P<memory>sharedmemory)(?:/region/[^/]+)?/(?:status|register|unregister)"
    r"|(?:models/[^/]+/)?(?P<trace>trace)/setting|(?P<logging>logging))"
)
"""Addresses of Triton's that are refused; what is matched by name is a key of `REFUSED`."""
_HEADER_LENGTH: Final = "Inference-Header-Content-Length"
_BINARY_TYPE: Final = "application/octet-stream"
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_WORTH_DEFLATING: Final = 1024
_LARGEST_INDEX: Final = 4096
"""Bytes of a request for the index, which has one word; it is read on the event loop."""
_READ: Final = ("GET", "HEAD")
_RUNS: Final = ("infer", "image")
"""The operations that run the model."""
_LEFT: Final = "499"
"""What is counted where a client leaves before its answer; nginx' number, since HTTP has none."""


@dataclass(frozen=True, slots=True)
class _Route:
    operation: str
    methods: tuple[str, ...]
    page: Callable[[Request], Response | asyncio.Future[Response]]


class HttpApi:
    """Answers requests.

    Args:
        service: The model and the server's state.
        body_limit: The most bytes that a body may have once inflated.
        pixel_limit: The most bytes that a picture's pixels may have, three for each; None: as many as a body.
    """

    def __init__(self, service: Service, *, body_limit: int, pixel_limit: int | None = None) -> None:
        self._service = service
        self._body_limit = body_limit
        self._pixel_limit = pixel_limit or body_limit
        self._pages = {
            "/": _Route("page", _READ, lambda _: front_page(service.name)),
            "/v2": _Route("metadata", _READ, self._server),
            "/v2/": _Route("metadata", _READ, self._server),
            "/v2/health/live": _Route("health", _READ, self._live),
            "/v2/health/ready": _Route("health", _READ, self._ready),
            "/v2/models/stats": _Route("metadata", _READ, lambda _: self._statistics(None, "")),
            "/metrics": _Route("metrics", _READ, self._metrics),
            "/traffic": _Route("metrics", _READ, self._traffic),
            "/drift": _Route("metrics", _READ, self._drift),
        }

    def answer(self, request: Request) -> Response | asyncio.Future[Response]:
        """Answer a request.

        Args:
            request: The request.

        Returns:
            The response, or what it comes from later: `settle` takes it then. Cancelling that ends the wait.
        """
        operation = "other"
        result: Response | asyncio.Future[Response]
        try:
            route = self._route(request.path)
            operation = route.operation
            if request.method in route.methods:
                result = route.page(request)
            else:
                message = f"method {request.method} is not allowed here; expected {' or '.join(route.methods)}"
                result = error_response(HTTPStatus.METHOD_NOT_ALLOWED, message, ("Allow", ", ".join(route.methods)))
        except RequestError as error:
            result = error_response(error)
        if isinstance(result, Response):
            self._count(operation, result, request)
        return result

    def settle(self, request: Request, future: asyncio.Future[Response], most: int) -> Response:
        """Take the response to a request out of what `answer` returned for it, once that is done.

        Args:
            request: The request.
            future: What was returned.
            most: The most bytes that there is room for; a longer response becomes a 503.
        """
        response = _settled(future)
        if response.length > most:
            response = error_response(Unavailable(CROWDED))
        self._count(_asked(request), response, request)
        return response

    def left(self, request: Request) -> None:
        """Count a request whose client left before its answer."""
        self._service.metrics.add("edgesmith_requests_total", "http", _asked(request), _LEFT)

    def refused(self, response: Response) -> None:
        """Count a request that was refused before it was whole."""
        self._count("other", response)

    def _count(self, operation: str, response: Response, request: Request | None = None) -> None:
        metrics = self._service.metrics
        metrics.add("edgesmith_requests_total", "http", operation, str(response.status.value))
        if operation in _RUNS and request is not None and request.method == "POST":
            taken = time.perf_counter() - request.received
            metrics.observe("edgesmith_request_duration_seconds", "http", value=taken)

    def _route(self, path: str) -> _Route:
        if path in self._pages:
            return self._pages[path]
        found = _MODEL.fullmatch(path)
        if found is None:
            return self._beside(path)
        name, version = unquote(found["name"]), unquote(found["version"] or "")
        if found["action"] == "/infer":
            return _Route("infer", ("POST",), lambda request: self._infer(request, name, version))
        if found["action"] == "/image":
            return _Route("image", (*_READ, "POST"), lambda request: self._image(request, name, version))
        operation, page = {
            None: ("metadata", self._model),
            "/config": ("metadata", self._config),
            "/stats": ("metadata", self._statistics),
            "/ready": ("health", self._model_ready),
        }[found["action"]]
        return _Route(operation, _READ, lambda _: page(name, version))

    def _beside(self, path: str) -> _Route:
        """What Triton has beside the model's pages."""
        if found := _INDEX.fullmatch(path):
            repository = unquote(found["repository"] or "")
            return _Route("metadata", ("POST",), lambda request: self._index(request, repository))
        if found := _REFUSED.fullmatch(path):
            raise Unsupported(REFUSED[next(word for word in found.groups() if word)])
        raise NotFound(
            f"path {path[:200]!r} is not known; "
            "expected /, /v2, /v2/health/…, /v2/models/…, /metrics, /traffic or /drift"
        )

    def _server(self, _: Request) -> Response:
        return json_response({"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS})

    def _live(self, _: Request) -> Response:
        live = self._service.live
        return json_response({"live": live}, HTTPStatus.OK if live else HTTPStatus.SERVICE_UNAVAILABLE)

    def _ready(self, _: Request) -> Response:
        ready = self._service.ready
        return json_response({"ready": ready}, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    def _model_ready(self, name: str, version: str) -> Response:
        ready = self._service.model_ready(name, version)
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return json_response({"name": name, "ready": ready}, status)

    def _metrics(self, _: Request) -> Response:
        return Response(HTTPStatus.OK, [self._service.metrics_text().encode()], _METRICS_TYPE)

    def _traffic(self, _: Request) -> Response:
        judge = self._service.judge
        if judge is None:
            raise Unavailable("requests are not counted yet; retry once the model is loaded")
        if judge.traffic is None:
            raise Unavailable("requests are not counted; expected --judge-seconds above 0")
        return Response(HTTPStatus.OK, [judge.traffic.figures().text()], JSON_TYPE)

    def _drift(self, _: Request) -> Response:
        drift = self._service.drift
        if drift is None:
            raise NotFound("drift is not watched for here; expected --privacy Statistics and a bundle with a baseline")
        return Response(HTTPStatus.OK, [drift.verdict.write()], JSON_TYPE)

    def _model(self, name: str, version: str) -> Response:
        signature = self._service.model(name, version).signature
        return json_response(
            {
                "name": signature.name,
                "versions": [VERSION],
                "platform": signature.platform,
                "inputs": [_tensor(spec) for spec in signature.inputs.values()],
                "outputs": [_tensor(spec) for spec in signature.outputs.values()],
            }
        )

    def _config(self, name: str, version: str) -> Response:
        return json_response(model_config(self._service.model(name, version).signature))

    def _statistics(self, name: str | None, version: str) -> Response:
        return json_response(model_statistics(self._service, name, version))

    def _index(self, request: Request, repository: str) -> Response:
        if len(request.body) > _LARGEST_INDEX:
            raise TooLarge(f"the body has {len(request.body)} bytes; expected at most {_LARGEST_INDEX}")
        asked = parsed(request.body) if request.body else {}
        if not isinstance(asked, dict):
            raise BadRequest("the body is not a JSON object; expected none, or ready in one")
        ready = asked.get("ready", False)
        if not isinstance(ready, bool):
            raise BadRequest(f"ready is {shown(ready)}; expected true or false")
        return json_response(repository_index(self._service, repository, ready=ready))

    def _image(self, request: Request, name: str, version: str) -> Response | asyncio.Future[Response]:
        model = self._service.model(name, version)
        if request.method in _READ:
            return declared(model)
        job = picture_job(self._service, model, request, body_limit=self._body_limit, pixel_limit=self._pixel_limit)
        return self._service.submit(job)

    def _infer(self, request: Request, name: str, version: str) -> asyncio.Future[Response]:
        model = self._service.model(name, version)
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity" and encoding not in ENCODINGS:
            raise BadRequest(f"Content-Encoding is {encoding[:100]!r}; expected {', '.join(ENCODINGS)} or identity")
        header_length = _header_length(request)
        accepted = accepted_encoding(request.headers.get("accept-encoding", ""))

        def decode() -> InferRequest:
            body = request.body if encoding == "identity" else inflate(request.body, encoding, self._body_limit)
            return decode_request(model.signature, body, header_length)

        def encode(asked: InferRequest, answers: Mapping[str, NDArray[Any]]) -> Response:
            parts, json_length = encode_answer(model.signature, asked, answers)
            headers = () if json_length is None else ((_HEADER_LENGTH, str(json_length)),)
            response = Response(HTTPStatus.OK, parts, JSON_TYPE if json_length is None else _BINARY_TYPE, headers)
            if accepted is None or json_length is not None or response.length < _WORTH_DEFLATING:
                return response
            headers = (*headers, ("Content-Encoding", accepted))
            return Response(response.status, deflate(parts, accepted), response.content_type, headers)

        job = inference(self._service, model, since=request.received, decode=decode, encode=encode)
        # What is to be inflated may take longer than its size tells.
        return self._service.submit(job, len(request.body) if encoding == "identity" else None)


def _asked(request: Request) -> str:
    """Which operation a request that ran the model is."""
    return "image" if request.path.endswith("/image") else "infer"


def _settled(future: asyncio.Future[Response]) -> Response:
    if future.cancelled():
        return error_response(Unavailable("the server is stopping; ask another"))
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, RequestError):
        if isinstance(error, AnswerFailed):
            _log.warning("inference failed: %s", error)
        return error_response(error)
    _log.error("inference failed unexpectedly", exc_info=error)
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says where")


def _header_length(request: Request) -> int | None:
    value = request.headers.get(_HEADER_LENGTH.lower())
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):  # noqa: PLR2004 - longer than any body
        raise BadRequest(f"{_HEADER_LENGTH} is {value[:100]!r}; expected a whole number from 0")
    return int(value)


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
