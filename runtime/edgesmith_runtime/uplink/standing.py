"""What the uplink last said of itself, in a file beside the spool: the server tells it as metrics."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.uplink.answers import REASONS

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.uplink.answers import Outcome

__all__ = ["FILE", "OBJECTS", "Standing"]

FILE: Final = "uplink.json"
OBJECTS: Final = "objects"
"""The folder of the spool that objects are in."""
_LONGEST: Final = 8192


@dataclass(slots=True)
class Standing:
    """How sending goes.

    Attributes:
        counts: Objects and tries by what became of them.
        sent: Bytes that went over the link, those of tries that failed among them.
        reason: What became of the last try; empty before the first.
        message: One sentence about it where it was refused.
        earliest: A time that is over for sure, in seconds since 1970: what the bucket was once known to have said.
    """

    counts: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    reason: str = ""
    message: str = ""
    earliest: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Standing:
        """Read it; what cannot be read says nothing."""
        try:
            with path.open("rb") as stream:
                found = json.loads(stream.read(_LONGEST))
            counts = {name: int(count) for name, count in found["counts"].items() if name in REASONS}
            said = float(found.get("earliest", 0.0))
            earliest = said if math.isfinite(said) else 0.0
            return cls(counts, int(found["sent"]), str(found["reason"]), str(found["message"]), earliest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return cls()

    def take(self, outcome: Outcome) -> bool:
        """Take up a try; returns whether it came to something else than the one before."""
        self.counts[outcome.reason] = self.counts.get(outcome.reason, 0) + 1
        self.sent += outcome.sent
        changed = self.reason != outcome.reason
        self.reason, self.message = outcome.reason, outcome.message
        return changed

    def write(self, path: Path) -> None:
        """Write it where it can be written; a full disk keeps none."""
        new = path.with_name(f"{path.name}.new")
        try:
            new.write_text(json.dumps(asdict(self)), encoding="utf-8")
            new.replace(path)
        except OSError:
            return

    def tell(self, metrics: Metrics) -> None:
        """Write it as metrics."""
        for reason, count in self.counts.items():
            metrics.put("edgesmith_uplink_tries_total", reason, value=count)
        metrics.put("edgesmith_uplink_bytes_total", value=self.sent)
