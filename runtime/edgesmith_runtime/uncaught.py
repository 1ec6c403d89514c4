"""What ends a program of ours though nobody foresaw it: its termination message says so.

Nothing else of ours is imported, and of the standard library what the interpreter has at its start: it must work where
nothing else does, and it is in processes that do nothing but wait.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["INTERNAL_ERROR", "ArgumentsRefused", "run"]

INTERNAL_ERROR = "InternalError"
"""The reason."""

_OPTION = "--termination-log"
_FILE = "/dev/termination-log"
_LONGEST = 600
"""Characters of the sentence; with six bytes for each, the kubelet keeps all of it."""
_LONGEST_NAME = 40
_NO_MEMORY = b'{"message": "ended without memory to say why", "reason": "InternalError", "verdict": "Failed"}\n'


class ArgumentsRefused(SystemExit):
    """Arguments that the command line does not take.

    Args:
        message: Why.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


def run(program: "Callable[[], int]") -> int:
    """Run a program to its end.

    Where it raises, the termination message says so, unless the program has left one itself, or there is no file for
    one. The log has the trace. The process ends then, whatever its other threads do.

    Args:
        program: What imports the rest, reads the command line, and returns the exit status.

    Returns:
        The program's exit status.
    """
    try:
        return program()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if status:
            _leave(error)
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is
        _leave(error)
        _log(error)
        os._exit(1)


def _leave(error: BaseException) -> None:
    try:
        _write(_document(_sentence(error)))
    except MemoryError:
        _write(_NO_MEMORY)


def _sentence(error: BaseException) -> str:
    name = sys.argv[1][:_LONGEST_NAME] if sys.argv[1:] and not sys.argv[1].startswith("-") else "the program"
    if isinstance(error, ArgumentsRefused):
        return f"{name} does not take its arguments: {error.message}"
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an error that cannot even say what it is
        text = ""
    return f"{name} ended with {type(error).__name__}{': ' if text else ''}{text}"


def _document(sentence: str) -> bytes:
    text = "".join(_escaped(letter) for letter in sentence[:_LONGEST])
    return f'{{"message": "{text}", "reason": "{INTERNAL_ERROR}", "verdict": "Failed"}}\n'.encode()


def _escaped(letter: str) -> str:
    """A letter as it stands in a string of JSON (RFC 8259, section 7); '?' beyond the basic plane."""
    if " " <= letter <= "~" and letter not in '"\\':
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) <= 0xFFFF else "?"  # noqa: PLR2004 - the basic plane's last


def _write(text: bytes) -> None:
    path = _FILE
    for place, word in enumerate(sys.argv):
        if word == _OPTION and sys.argv[place + 1 :]:
            path = sys.argv[place + 1]
        elif word.startswith(f"{_OPTION}="):
            path = word.partition("=")[2]
    try:
        file = os.open(path, os.O_WRONLY)
    except OSError:  # no kubelet is there to read it, or none may
        return
    try:
        if os.fstat(file).st_size == 0:
            os.write(file, text)
    except OSError as error:
        sys.stderr.write(f"{path} cannot be written: {error.strerror}\n")
    finally:
        os.close(file)


def _log(error: BaseException) -> None:
    """Write the trace, in the form that the log has by then."""
    logging = sys.modules.get("logging")
    if logging is not None and logging.getLogger().handlers:
        logging.getLogger(__name__).critical("ended by a mistake of its own", exc_info=error)
        logging.shutdown()
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads it any more
            continue
