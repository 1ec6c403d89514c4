"""Which of an engine's two runners a run takes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from toys import LAYERS, TOLD, TOYS

from edgesmith_runtime.engine import load_engine
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

X = {"x": np.ones((1, 4), np.float32)}


def load(name: str, model: Path, threads: int = 2) -> Any:
    """An engine whose insides are looked at."""
    return load_engine(name, model, threads=threads, options=TOLD.get(name, {}))


@pytest.fixture(params=sorted(TOYS))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The toy model on two threads, in every engine, after its first run."""
    loaded = load(request.param, TOYS[request.param](tmp_path))
    loaded.infer(X)
    return loaded


def listening(engine: Any, monkeypatch: pytest.MonkeyPatch, within: Callable[[str], None]) -> None:
    """Have a function called with the name of each runner that is about to run."""
    names = {engine._wide: "wide", engine._narrow: "narrow"}
    runner = type(engine._wide)
    run = runner.run

    def heard(self: Any, *arguments: Any, **keywords: Any) -> Any:
        within(names[self])
        return run(self, *arguments, **keywords)

    monkeypatch.setattr(runner, "run", heard)


def test_a_lone_run_is_wide_and_others_are_narrow(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    hold, within, go_on = threading.Event(), threading.Event(), threading.Event()

    def noted(name: str) -> None:
        asked.append(name)
        if hold.is_set() and not within.is_set():
            within.set()
            assert go_on.wait(PATIENCE)

    listening(engine, monkeypatch, noted)
    engine.infer(X)
    engine.infer(X, busy=True)
    hold.set()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(engine.infer, X)
        assert within.wait(PATIENCE)
        engine.infer(X)
        go_on.set()
        first.result(PATIENCE)
    engine.infer(X)
    assert asked == ["wide", "narrow", "wide", "narrow", "wide"]


def test_after_a_failed_run_a_lone_one_is_wide_again(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def failing(name: str) -> None:
        asked.append(name)
        if len(asked) == 1:
            raise MemoryError

    listening(engine, monkeypatch, failing)
    with pytest.raises(MemoryError):
        engine.infer(X)
    engine.infer(X)
    assert asked == ["wide", "wide"]


@pytest.mark.parametrize("name", sorted(TOYS))
def test_with_one_thread_there_is_one_runner(name: str, tmp_path: Path) -> None:
    engine = load(name, TOYS[name](tmp_path), threads=1)
    assert engine._wide is engine._narrow


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"edgetpu"}))
def test_a_large_model_has_one_runner(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LAYERS[name][0](tmp_path)
    weights = model.with_suffix(".bin") if name == "openvino" else model
    copies = 2 if name == "litert" else 1
    place = f"edgesmith_runtime.engine.{name}.MOST_COPIED"
    monkeypatch.setattr(place, copies * weights.stat().st_size)
    engine = load(name, model)
    assert engine._narrow is not engine._wide
    monkeypatch.setattr(place, copies * weights.stat().st_size - 1)
    engine = load(name, model)
    assert engine._narrow is engine._wide
    x = np.ones(LAYERS[name][1](8), np.float32)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: engine.infer({"x": x})["y"].tolist(), range(40)))
    assert all(answer == answers[0] for answer in answers)
