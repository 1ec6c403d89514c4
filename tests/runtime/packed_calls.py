"""Asks over gRPC with compressed messages while the model is busy; prints how many of them were inflated at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import threading
import zlib
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from edgesmith_runtime.http import encodings
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.rpc.catalogue import catalogue
from tests.patience import PATIENCE
from tests.runtime.calls import calling
from tests.runtime.engines import WatchedEngine, serving
from tests.runtime.pages import until

INFER, STREAM = (f"/inference.GRPCInferenceService/{name}".encode() for name in ("ModelInfer", "ModelStreamInfer"))
CALLS = 12


class Inflated(bytes):
    """What was inflated, counted for as long as it is in memory."""

    now, most = 0, 0

    def __init__(self, _: bytes) -> None:
        Inflated.now += 1
        Inflated.most = max(Inflated.most, Inflated.now)

    def __del__(self) -> None:
        Inflated.now -= 1


class Inflating:
    """Inflates as `zlib` does."""

    def __init__(self, bits: int) -> None:
        self._decoder = zlib.decompressobj(bits)

    def decompress(self, data: bytes, most: int) -> Inflated:
        """Count it."""
        return Inflated(self._decoder.decompress(data, most))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)


class Busy(WatchedEngine):
    """Waits with its first run until it is told to go on."""

    def __init__(self) -> None:
        self.running, self.go_on = threading.Event(), threading.Event()

    def infer(self, *arguments: Any, **options: Any) -> Any:
        """Wait."""
        self.running.set()
        assert self.go_on.wait(PATIENCE)
        return super().infer(*arguments, **options)


async def main() -> None:
    """Ask by calls of one message, and by as many streams."""
    engine = Busy()
    service, queue, _ = serving(engine, limit=3 * CALLS)
    methods, _ = catalogue(service)
    asked = messages.ModelInferRequest(model_name="m", raw_input_contents=[np.ones(4, "<f4").tobytes()])
    asked.inputs.add(name="x", datatype="FP32", shape=[4])
    packed = gzip.compress(asked.SerializeToString())
    statuses = []
    async with calling(served=(service, queue), methods=methods) as (_, client):
        for number in range(2 * CALLS):
            stream = 2 * number + 1
            client.begin(stream, changes={b":path": (INFER, STREAM)[number % 2], b"grpc-encoding": b"gzip"})
            client.send(stream, b"\x01" + len(packed).to_bytes(4, "big") + packed, ends=True)
            if not number:
                await asyncio.to_thread(engine.running.wait, PATIENCE)
        await until(lambda: queue.pending == 2 * CALLS)
        engine.go_on.set()
        statuses = [await client.status(2 * number + 1) for number in range(2 * CALLS)]
    sys.stdout.write(json.dumps({"most": Inflated.most, "left": Inflated.now, "statuses": sorted(set(statuses))}))


if __name__ == "__main__":
    counting = SimpleNamespace(decompressobj=Inflating, error=zlib.error, MAX_WBITS=zlib.MAX_WBITS)
    with patch.object(encodings, "zlib", counting):
        asyncio.run(main())
