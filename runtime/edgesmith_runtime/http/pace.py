"""How fast a client has to take what waits for it; one rule for whatever it takes it out of."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """A client's pace: so many bytes, or the last of them, within so many seconds, again and again.

    Few bytes put nothing off, so one that takes them a little at a time is as late as one that takes none.
    Times are those of `time.monotonic`.

    Args:
        rate: The fewest bytes a second.
        seconds: Over how many seconds they are counted.
    """

    __slots__ = ("_deadline", "_least", "_mark", "_seconds")

    def __init__(self, rate: float, seconds: float) -> None:
        self._least = rate * seconds
        self._seconds = seconds
        self._mark = 0
        self._deadline: float | None = None

    @property
    def waits(self) -> bool:
        """Whether something waited at the last look."""
        return self._deadline is not None

    def rest(self) -> None:
        """Take note that nothing waits."""
        self._deadline = None

    def late(self, taken: int, now: float) -> bool:
        """Say whether the client takes too little; something waits.

        Args:
            taken: How many bytes it has taken, ever.
            now: The time.
        """
        if self._deadline is None or taken - self._mark >= self._least:
            self._mark, self._deadline = taken, now + self._seconds
        return now >= self._deadline

    def put_off(self, seconds: float, now: float) -> None:
        """Leave out a time in which the client could not say what it takes.

        Args:
            seconds: How long that was.
            now: When it ended.
        """
        if self._deadline is not None:
            self._deadline = min(self._deadline + seconds, now + self._seconds)
