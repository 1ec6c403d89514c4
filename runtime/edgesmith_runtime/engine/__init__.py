"""Inference engines behind one small interface.

An engine is chosen by the name that the bundle carries, so that a device gets the one its build was measured with.
"""

from edgesmith_runtime.engine.interface import Engine, EngineError, EngineInputError
from edgesmith_runtime.engine.registry import ENGINES, engine_version, load_engine

__all__ = ["ENGINES", "Engine", "EngineError", "EngineInputError", "engine_version", "load_engine"]
