"""The command line: one module a command; also as `kubectl edgesmith`.

`arguments/` declares what each command takes; what a command needs besides is imported once it is chosen.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

from edgesmith.cli.answer import Answer
from edgesmith.cli.arguments import parser
from edgesmith.cli.command import command_of
from edgesmith.cluster.lean import leave_out

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 where it did what it was asked, 1 with one sentence on standard error where not.

    `profile detect` and `profile validate` are also 1 where no profile fits, or one is wrong.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal may lack the signs of a sentence.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        answer = _answer(arguments)
        _say(answer.text)
    except SystemExit:
        raise  # help was shown or the line is wrong: nothing is imported to tell which error it is
    except BrokenPipeError:
        _discard()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        if (error.name or "edgesmith").startswith("edgesmith"):
            raise
        print(
            f"edgesmith: the package {error.name} is not installed; those of edgesmith[operator] were expected",
            file=sys.stderr,
        )
        return 1
    except _foreseen() as error:
        print(f"edgesmith: {_sentence(error)}", file=sys.stderr)
        return 1
    return answer.status


def _answer(arguments: Sequence[str] | None) -> Answer:
    try:
        found = parser().parse_args(arguments)
    finally:
        # What --help printed: whether somebody reads it is known when it is written.
        _say("")
    leave_out()
    return command_of(found.module).run(found)


def _foreseen() -> tuple[type[Exception], ...]:
    """The errors whose words are for people; asked for when there is one, since some come with a library."""
    from edgesmith.cluster.errors import ClusterError  # noqa: PLC0415 - see above
    from edgesmith_builder.oci import RegistryError  # noqa: PLC0415 - see above

    return ClusterError, RegistryError, ValueError, OSError


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)} cannot be used: {error.strerror}"
    words = error.strerror if isinstance(error, OSError) else None
    return " ".join((words or str(error)).split())


def _say(text: str) -> None:
    try:
        print(text, end="\n" if text else "", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard()
        raise ValueError(f"standard output cannot be written: {error.strerror}") from error


def _discard() -> None:
    """Whoever reads has seen enough, as `head` has, or cannot take more; Python tries once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
