"""How long a client over gRPC is waited for while its answers are on their way, told without a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.http.sending import Sending
from edgesmith_runtime.http2.marks import Marks
from edgesmith_runtime.rpc.expiry import Expiry
from edgesmith_runtime.rpc.server import GrpcLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = Limits(rate=4096)
OWN = GrpcLimits(silent=60.0, answer=20.0, idle=10**9)


class Line:
    """What is sent: it arrives when the test says so."""

    def __init__(self) -> None:
        self.paused = False
        self.state = Sending.State.UNDER_WAY
        self.pings = 0

    def look(self, _: float) -> Sending.State:
        return self.state

    def write(self, _: Sequence[bytes]) -> None:
        self.pings += 1


class Ended(list[str]):
    """Notes how the connection ended."""

    def close(self, *_: Any, sentence: str = "") -> None:
        self.append(sentence)

    def abort(self) -> None:
        self.append("aborted")


def test_what_arrives_late_may_be_read_as_slowly_as_anything_else() -> None:
    line, ended = Line(), Ended()
    marks = Marks(LIMITS.rate, OWN.silent, OWN.answer, 0)
    expiry = Expiry(ended, cast("Sending", line), marks, LIMITS, OWN)
    marks.sent(marks.room - 1, 0)
    expiry.look((), 55, started=True)
    line.state = Sending.State.NOTHING
    expiry.look((), 61, started=True)
    assert line.pings == 1
    expiry.look((), 55 + OWN.silent + OWN.answer - 1, started=True)
    assert not ended
    expiry.look((), 55 + OWN.silent + OWN.answer + 1, started=True)
    assert ended == ["aborted"]
    assert line.pings == 1
