"""What the person at the terminal sees: one line a step, with the time it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_QUIET_BEAT = 20.0  # seconds between lines where there is no terminal to draw over


def clock(seconds: float) -> str:
    """Render a duration as minutes and seconds: 2:10."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Console:
    """Writes progress to standard error, so that standard output stays for results."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()

    def say(self, sentence: str) -> None:
        """Print one line."""
        print(sentence, file=sys.stderr, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a short step, and how long it took once it is done."""
        started = time.monotonic()
        if self._terminal:
            print(f"{title} …", end="", file=sys.stderr, flush=True)
        done = False
        try:
            yield
            done = True
        finally:
            if self._terminal:
                print("\r\033[K", end="", file=sys.stderr)
            if done:
                self.say(f"{title}: {time.monotonic() - started:.1f} s")

    def heartbeat(self, title: str) -> "Heartbeat":
        """Return a clock to be beaten while a long step runs."""
        return Heartbeat(self, title, terminal=self._terminal)


class Heartbeat:
    """Shows that a long step is still going, and for how long."""

    def __init__(self, console: Console, title: str, *, terminal: bool) -> None:
        self._console = console
        self._title = title
        self._terminal = terminal
        self._started = time.monotonic()
        self._last = self._started
        console.say(f"{title}…")

    def beat(self) -> None:
        """Show the time passed: drawn over on a terminal, a line now and then elsewhere."""
        now = time.monotonic()
        passed = clock(now - self._started)
        if self._terminal:
            print(f"\r\033[K  {passed}", end="", file=sys.stderr, flush=True)
        elif now - self._last >= _QUIET_BEAT:
            self._last = now
            self._console.say(f"{self._title}… {passed}")

    def end(self, word: str) -> None:
        """Print the last line of the step."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr)
        self._console.say(f"{self._title}: {word} after {clock(time.monotonic() - self._started)}")
