"""Send servers of ours so many inputs that are wrong in some way, and keep those that find something.

    python -m tests.fuzz --inputs 1000000 --seed 1

One server takes tensors, the other one pictures. Some processes send, this one watches both. What is found is written
to tests/runtime/corpus, and the exit status is 1. The same seed sends the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.inputs import CORPUS, Input, a_call, request, some_frames, stream_of_bytes
from tests.fuzz.pictures import PicturePort, a_picture
from tests.fuzz.ports import Found, GrpcPort, HttpPort, send
from tests.fuzz.target import Target, picture_target_bundle, toy_bundle

BATCH = 24
PICTURES = 6
"""Pictures beside each batch."""
GROWTH = 200 * 2**20
"""By how many bytes the process may grow, with 64 MiB for requests in memory."""


def batch(rng: Random) -> list[Input]:
    """Some inputs: mostly requests and calls, since bytes and frames take a connection each."""
    makers = (request, a_call, stream_of_bytes, some_frames)
    return [maker(rng) for maker in rng.choices(makers, (56, 36, 3, 5), k=BATCH)]


def worker(ports: tuple[int, int, int], seed: str, count: int, results: Any) -> None:
    """Send so many inputs and tell what was found."""
    rng = Random(seed)  # noqa: S311 - it repeats itself
    http, grpc_port, pictures = HttpPort(ports[0]), GrpcPort(ports[1]), PicturePort(ports[2])
    told = 0
    while (sent := http.sent + grpc_port.sent + pictures.sent) < count:
        for found in send((http, grpc_port), batch(rng)):
            results.put(found)
        for found in send((pictures, grpc_port), [a_picture(rng) for _ in range(PICTURES)]):
            results.put(found)
        if sent - told >= 1000:
            results.put(sent - told)
            told = sent
    grpc_port.close()
    results.put(http.sent + grpc_port.sent + pictures.sent - told)
    results.put(None)


def _memory(targets: Iterable[Target]) -> int:
    return sum(target.memory for target in targets)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is a command line


def keep(found: Found) -> Path:
    """Write an input into the corpus."""
    name = hashlib.sha256(b"".join(found.input.data)).hexdigest()[:12]
    file = CORPUS / f"{found.input.kind}-{name}.json"
    file.write_text(found.input.text(found.what))
    return file


def run(inputs: int, seed: int, jobs: int) -> int:
    """Send them all; the exit status."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    began = told = time.monotonic()
    findings = sent = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        Target(toy_bundle(Path(folder))) as plain,
        Target(picture_target_bundle(Path(folder))) as pictures,
    ):
        targets = (plain, pictures)
        first = most = _memory(targets)
        each = -(-inputs // jobs)
        workers = [
            context.Process(
                target=worker, args=((plain.http, plain.grpc, pictures.http), f"{seed}-{index}", each, results)
            )
            for index in range(jobs)
        ]
        for one in workers:
            one.start()
        ended = 0
        while ended < jobs:
            said = results.get(timeout=300)
            if said is None:
                ended += 1
            elif isinstance(said, int):
                sent += said
            else:
                findings += 1
                _say(f"found: {said.what}\n  {keep(said)}")
            for target in targets:
                assert target.process.poll() is None, f"a server ended with {target.process.returncode}"
            most = max(most, _memory(targets))
            if most - first > GROWTH:
                findings += 1
                _say(f"found: the servers have grown by {(most - first) // 2**20} MiB")
                break
            if time.monotonic() - told > 30:
                told = time.monotonic()
                _say(f"{sent:,} inputs, {sent / (told - began):,.0f}/s, {most // 2**20} MiB at most")
        for one in workers:
            one.join(60)
        status = max(target.stop() for target in targets)
        own = [line for target in targets for line in target.lines if line["level"] != "info"]
    seconds = time.monotonic() - began
    _say(f"{sent:,} inputs in {seconds:,.0f} s, memory from {first >> 20} to {most >> 20} MiB, {findings} findings")
    for line in own[:10]:
        _say(f"log: {line}")
    return 1 if findings or own or status else 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (default: a million)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="processes that send (default: 2)")
    arguments = parser.parse_args()
    return run(arguments.inputs, arguments.seed, arguments.jobs)
