"""``report``: asks the server of this node what it says of drift, and ends whenever that is something else.

What it ends with is its termination message, which the kubelet puts into the pod's status: the verdict comes home
without a token or a path into the site. The kubelet starts it again. Each start leaves what was told last as its
message too, so that it is still there after the node was without power.

Only the standard library is imported: it waits beside a server, on small devices.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from edgesmith_runtime.parsing import Parser
from edgesmith_runtime.services import service_of

__all__ = ["HELP", "add_report", "main", "report"]

HELP = "ask the server of this node what it says of drift, and end with it as termination message when it changes"
_PAGE = "/drift"
_VERSION = 1
_LONGEST = 8192
_LONGEST_MESSAGE = 4096
_PATIENCE = 5.0
_ENDS = {signal.SIGTERM, signal.SIGINT}
_FILE = "edgesmith-told.json"
_UNKNOWN = "Learning"
"""The state that is told only where another one was told before."""


def main(arguments: list[str]) -> int:
    """Run the command without the others, which take more memory; see `report`."""
    parser = Parser(prog="edgesmith_runtime report", description=HELP)
    add_report(parser)
    return report(parser.parse_args(arguments))


def report(options: argparse.Namespace) -> int:
    """Ask until the verdict is another one, or somebody ends the process.

    Args:
        options: As `add_report` has them.

    Returns:
        0: the verdict was told, or nobody wants it any more.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # kept for sigtimedwait, also in the first process of a container
    began, own = time.monotonic(), _digest(options.bundle / "bundle.json")
    notes = options.notes / _FILE
    told = _read(notes)
    if told is not None:
        _leave(options.termination_log, told)
    if service_of(options.service) is None:
        # The Service was made after this container: the kubelet says where it is to the next one.
        signal.sigtimedwait(_ENDS, options.every_seconds)
        return 0
    while True:
        found = _ask(options.service)
        # What ends soon is started later and later by the kubelet, so a second verdict waits until this is settled.
        settled = told is None or time.monotonic() - began >= options.least_seconds
        if found is not None and found.get("baseline") == own and settled and _is_other(found, told):
            _leave(options.termination_log, found)
            _keep(notes, found)
            sys.stdout.write(f"The verdict is another one: {found['state']}\n")
            sys.stdout.flush()
            return 0
        if signal.sigtimedwait(_ENDS, options.every_seconds) is not None:
            return 0


def add_report(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.set_defaults(run=report)
    parser.add_argument("--service", required=True, help="the Service's name; its address is in the environment")
    parser.add_argument("--bundle", type=Path, default=Path("/model"), help="the bundle's folder")
    parser.add_argument("--every-seconds", type=float, default=30.0, help="from question to question")
    parser.add_argument("--least-seconds", type=float, default=600.0, help="up before it tells a second verdict")
    parser.add_argument("--notes", type=Path, default=Path("/tmp"), help="a folder that outlives it")  # noqa: S108 - the pod's own
    parser.add_argument("--termination-log", type=Path, default=Path("/dev/termination-log"), help="for the kubelet")


def _is_other(found: dict[str, Any], told: dict[str, Any] | None) -> bool:
    if told is None:
        return bool(found["state"] != _UNKNOWN)
    return any(found[field] != told.get(field) for field in ("state", "since", "baseline"))


def _ask(service: str) -> dict[str, Any] | None:
    """What the server says; None where it says nothing that can be read."""
    place = service_of(service)
    if place is None:
        return None
    try:
        with socket.create_connection(place, _PATIENCE) as connection:
            connection.settimeout(_PATIENCE)
            host = f"[{place[0]}]" if ":" in place[0] else place[0]
            connection.sendall(f"GET {_PAGE} HTTP/1.1\r\nHost: {host}:{place[1]}\r\nConnection: close\r\n\r\n".encode())
            page = b""
            while len(page) <= _LONGEST and (more := connection.recv(_LONGEST)):
                page += more
    except OSError:
        return None
    head, _, body = page.partition(b"\r\n\r\n")
    return _checked(body) if head.startswith(b"HTTP/1.1 200 ") else None


def _checked(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    whole = (
        len(text) <= _LONGEST_MESSAGE
        and isinstance(found, dict)
        and found.get("version") == _VERSION
        and type(found.get("since")) is int
        and all(isinstance(found.get(field), str) for field in ("state", "baseline"))
    )
    return found if whole else None


def _digest(file: Path) -> str:
    """The first digits of the baseline's digest, as verdicts have them: what a bundle says of its own.

    Read, not computed: the library for that is a third of the memory.
    """
    try:
        found = json.loads(file.read_bytes())
        return str(found["digests"][found["baseline"]]).removeprefix("sha256:")[:12]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def _read(file: Path) -> dict[str, Any] | None:
    try:
        with file.open("rb") as stream:
            return _checked(stream.read(_LONGEST))
    except OSError:
        return None


def _text(found: dict[str, Any]) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode()


def _leave(file: Path, found: dict[str, Any]) -> None:
    """Write the termination message; where that cannot be done, the notes must not say that it was."""
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(_text(found))


def _keep(file: Path, found: dict[str, Any]) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(_text(found))
    new.replace(file)
