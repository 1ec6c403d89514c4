"""Asks the gRPC port for a sign of life, from outside as a client does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pulse"]

_PERIOD: Final = 2.0
_TIMEOUT: Final = 5.0
_METHOD: Final = "/edgesmith.Pulse/Beat"
"""A method that does not exist: the refusal comes from the same loop as all answers, and is counted nowhere."""
_OPTIONS: Final = {"grpc.enable_http_proxy": 0, "grpc.use_local_subchannel_pool": 1}


class Pulse:
    """Listens to a port.

    Args:
        address: The port's address, ``127.0.0.1:8001`` for example.
        heard: Called each time the port answered.
        period: Seconds between two questions.
    """

    def __init__(self, address: str, heard: Callable[[], None], *, period: float = _PERIOD) -> None:
        self._address = address
        self._heard = heard
        self._period = period
        self._end = threading.Event()

    def start(self) -> None:
        """Start to ask."""
        threading.Thread(target=self._listen, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._end.set()

    def _listen(self) -> None:
        with grpc.insecure_channel(self._address, options=list(_OPTIONS.items())) as channel:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
            # At once, and over one connection: when clients have taken all others, this one is there.
            while not self._end.is_set():
                try:
                    ask(b"", timeout=_TIMEOUT)
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                        self._heard()
                self._end.wait(self._period)
