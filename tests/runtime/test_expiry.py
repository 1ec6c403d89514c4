"""How long a client over gRPC is waited for, as far as it can be told without a connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.http.sending import Sending
from edgesmith_runtime.rpc.expiry import RECEIVED_UNREAD, Expiry
from edgesmith_runtime.rpc.server import GrpcLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = Limits(rate=4096)
OWN = GrpcLimits(silent=60.0, answer=20.0, idle=10**9)


class Line:
    """What is sent: all of it arrives at once."""

    def __init__(self) -> None:
        self.paused = False
        self.arrived = 0
        self.pings = 0

    def look(self, _: float) -> Sending.State:
        return Sending.State.NOTHING

    def write(self, _: Sequence[bytes]) -> None:
        self.pings += 1


class Ended(list[str]):
    """Notes how the connection ended."""

    def close(self, *_: Any, sentence: str = "") -> None:
        self.append(sentence)

    def abort(self) -> None:
        self.append("aborted")


@pytest.mark.parametrize(
    ("arrived", "seconds"),
    [(0, 0.0), (4096 * 100, 100.0), (RECEIVED_UNREAD * 50, RECEIVED_UNREAD / 4096)],
    ids=["nothing", "what takes longer to read than to answer", "more than any machine keeps"],
)
def test_a_sign_of_life_is_waited_for_as_long_as_what_arrived_may_be_read(arrived: int, seconds: float) -> None:
    line, ended = Line(), Ended()
    expiry = Expiry(ended, cast("Sending", line), LIMITS, OWN)
    start = time.monotonic()
    expiry.look((), start, started=True)
    line.arrived = arrived
    expiry.look((), start + 0.5, started=True)
    asked = start + OWN.silent + 1
    expiry.look((), asked, started=True)
    assert line.pings == 1
    last = max(asked, start + seconds) + OWN.answer
    expiry.look((), last - 1, started=True)
    assert not ended
    expiry.look((), last + 1, started=True)
    assert ended == ["aborted"]
    assert line.pings == 1
