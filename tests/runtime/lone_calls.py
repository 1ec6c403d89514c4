"""Asks over gRPC's own methods, one call after the other, and prints which of them ran on the event loop's thread."""

from __future__ import annotations

import asyncio
import json
import sys
import threading

import numpy as np

from edgesmith_runtime import alone
from edgesmith_runtime.alone import LOOKS
from edgesmith_runtime.protocol import inference_pb2 as messages
from edgesmith_runtime.rpc.content import Content
from edgesmith_runtime.rpc.methods import InferenceMethods
from tests.runtime.engines import WatchedEngine, serving


async def main() -> None:
    """Ask until the next one is alone, then something larger, then by a stream."""
    alone.FAST = 3600.0  # type: ignore[misc]  # how fast a run is, is not left to the machine
    engine = WatchedEngine()
    service, queue, _ = serving(engine)
    methods = InferenceMethods(service)
    asked = messages.ModelInferRequest(model_name="m", raw_input_contents=[np.ones(4, "<f4").tobytes()])
    asked.inputs.add(name="x", datatype="FP32", shape=[4])
    plain = asked.SerializeToString()
    asked.id = "one that is longer"
    larger = asked.SerializeToString()

    def content(message: bytes) -> Content:
        return Content(memoryview(message), None, len(message))

    async def on_the_loop(message: bytes) -> bool:
        answered = messages.ModelInferResponse.FromString(await methods.model_infer(content(message)))
        assert answered.model_name == "m"
        return engine.ran == threading.get_ident()

    found: dict[str, object] = {"plain": [await on_the_loop(plain) for _ in range(LOOKS + 1)]}
    found["larger"] = await on_the_loop(larger)
    await methods.model_stream_infer(content(plain))
    found["streamed"] = engine.ran == threading.get_ident()
    queue.close()
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
