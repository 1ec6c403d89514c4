"""The least that a request over a socket takes: its bytes, received into one place and answered with as many as ours.

    python bench/loopback.py REQUEST ANSWER                   # bytes of each; listens, and prints its port
    python bench/loopback.py REQUEST ANSWER MODEL THREADS     # the same, and runs a model between the two

What a served request takes above a bare run is this and the server's own work. There is no protocol in it. With a model
it is the least that any server takes on this machine: a process that waits for bytes computes with cold caches and with
threads that slept.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loopback(request: int, answer: int, model: Path | None = None, threads: int = 1) -> Iterator[Callable[[], None]]:
    """Start the other end in a process of its own while the block runs; what is yielded sends and waits once.

    Args:
        request: Bytes that are sent.
        answer: Bytes that come back.
        model: MobileNetV2's file, which is run between the two.
        threads: How many cores it is run with.
    """
    command = [sys.executable, __file__, str(request), str(answer)]
    if model is not None:
        command += [str(model), str(threads)]
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


def _run(file: str, threads: int, place: memoryview) -> Callable[[], None]:
    """A bare run over what was received last into a place."""
    # Without a model, this program is to have nothing of them in memory.
    import numpy as np  # noqa: PLC0415 - see above
    from bare import bare  # noqa: PLC0415 - see above
    from mobilenet import SHAPE  # noqa: PLC0415 - see above

    count = int(np.prod(SHAPE))
    image = np.frombuffer(place, np.float32, offset=(len(place) // 4 - count) * 4, count=count).reshape(SHAPE)
    return bare(Path(file), threads, image)


def main() -> None:
    """Answer one connection until it ends."""
    request, answer = map(int, sys.argv[1:3])
    place, answered = memoryview(bytearray(request)), bytes(answer)
    run = _run(sys.argv[3], int(sys.argv[4]), place) if len(sys.argv) > 3 else None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while _fill(connection, place):
                if run is not None:
                    run()
                connection.sendall(answered)


if __name__ == "__main__":
    main()
