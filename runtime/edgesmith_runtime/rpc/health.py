"""``grpc.health.v1``'s question: does this service serve?

https://github.com/grpc/grpc/blob/master/doc/health-checking.md describes it. The two messages are a field each, so they
are read and written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesmith_runtime.codec.wire import WireError, fields
from edgesmith_runtime.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from edgesmith_runtime.rpc.call import Call
    from edgesmith_runtime.service import Service

__all__ = ["HealthMethods", "asked_service"]

_SERVICE_FIELD: Final = 1
_SERVING: Final = b"\x08\x01"
_NOT_SERVING: Final = b"\x08\x02"
_SERVICE_UNKNOWN: Final = b"\x08\x03"
_LONGEST_REQUEST: Final = 1024
"""A watcher's request counts as memory in use for as long as it watches."""


class HealthMethods:
    """Answers the calls of ``grpc.health.v1.Health``.

    Args:
        service: The model and the server's state.
        names: The services that are served.
    """

    def __init__(self, service: Service, names: tuple[str, ...]) -> None:
        self._service = service
        self._names = ("", *names)

    def check(self, message: bytes | memoryview, _: Call) -> bytes:
        """Say whether a service, or the whole server where none is named, is to be sent requests."""
        name = asked_service(message)
        if name not in self._names:
            raise NotFound(f"service {name[:100]!r} is not served here; expected {self._names[1]!r} or none")
        return self.status(name)

    def status(self, name: str) -> bytes:
        """The message for a service of that name, as it is now; a name that is not known is a status of its own."""
        if name not in self._names:
            return _SERVICE_UNKNOWN
        return _SERVING if self._service.ready else _NOT_SERVING


def asked_service(message: bytes | memoryview) -> str:
    """Read which service a request names; empty for the whole server.

    Raises:
        BadRequest: The message is no request, or is too long.
    """
    if len(message) > _LONGEST_REQUEST:
        raise BadRequest(f"the HealthCheckRequest has {len(message)} bytes; expected at most {_LONGEST_REQUEST}")
    name = ""
    try:
        for number, _whole, content in fields(memoryview(message)):
            if number == _SERVICE_FIELD and content is not None:
                name = str(content, "utf-8")
    except (WireError, UnicodeDecodeError) as error:
        raise BadRequest("the message is no HealthCheckRequest in protobuf's wire format") from error
    return name
