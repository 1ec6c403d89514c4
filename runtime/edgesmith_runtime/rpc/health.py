"""``grpc.health.v1``'s one question: does this service serve?

https://github.com/grpc/grpc/blob/master/doc/health-checking.md describes it. The two messages are a field each, so they
are read and written here; ``Watch`` is left out, which clients take as "no changes are told".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesmith_runtime.codec.wire import WireError, fields
from edgesmith_runtime.errors import BadRequest, NotFound

if TYPE_CHECKING:
    import grpc

    from edgesmith_runtime.service import Service

__all__ = ["HealthMethods"]

_SERVICE_FIELD: Final = 1
_SERVING: Final = b"\x08\x01"
_NOT_SERVING: Final = b"\x08\x02"


class HealthMethods:
    """Answers the calls of ``grpc.health.v1.Health``.

    Args:
        service: The model and the server's state.
        names: The services that are served.
    """

    def __init__(self, service: Service, names: tuple[str, ...]) -> None:
        self._service = service
        self._names = ("", *names)

    def check(self, message: bytes, _: grpc.ServicerContext) -> bytes:
        """Say whether a service, or the whole server where none is named, is to be sent requests."""
        name = ""
        try:
            for number, _whole, content in fields(memoryview(message)):
                if number == _SERVICE_FIELD and content is not None:
                    name = str(content, "utf-8")
        except (WireError, UnicodeDecodeError) as error:
            raise BadRequest("the message is no HealthCheckRequest in protobuf's wire format") from error
        if name not in self._names:
            raise NotFound(f"service {name[:100]!r} is not served here; expected {self._names[1]!r} or none")
        return _SERVING if self._service.ready else _NOT_SERVING
