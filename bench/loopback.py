"""The least that a request over a socket takes: its bytes, received into one place and answered with as many as ours.

    python bench/loopback.py REQUEST ANSWER      # bytes of each; listens, and prints its port

What a served request takes above a bare run is this and the server's own work. Neither protocol nor model is in it.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def loopback(request: int, answer: int) -> Iterator[Callable[[], None]]:
    """Start the other end in a process of its own while the block runs; what is yielded sends and waits once.

    Args:
        request: Bytes that are sent.
        answer: Bytes that come back.
    """
    command = [sys.executable, __file__, str(request), str(answer)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(next(iter(process.stdout or ())))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent, place = bytes(request), memoryview(bytearray(answer))

            def ask() -> None:
                connection.sendall(sent)
                _fill(connection, place)

            yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def _fill(connection: socket.socket, place: memoryview) -> bool:
    """Receive as many bytes as there is place for; False where the other end has closed."""
    filled = 0
    while filled < len(place):
        count = connection.recv_into(place[filled:])
        if not count:
            return False
        filled += count
    return True


def main() -> None:
    """Answer one connection until it ends."""
    request, answer = map(int, sys.argv[1:])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            place, answered = memoryview(bytearray(request)), bytes(answer)
            while _fill(connection, place):
                connection.sendall(answered)


if __name__ == "__main__":
    main()
