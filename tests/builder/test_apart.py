"""A build whose process ends without a word: one sentence is said of it all the same, and says what was in hand."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builder_program import build, command, run
from PIL import Image
from tflite import crashing_detector

from edgesmith_builder.contract import Artifact, BuildFailure, Classification, Picture, Toolchain
from tests.patience import PATIENCE

LABELS = ("good", "scratch", "dent", "hole")
"""The classes of the world's model."""

CRASHES = "import os, signal; os.kill(os.getpid(), signal.{})"


class Ending:
    """Calls something when its pickle is read."""

    def __init__(self, call: Callable[..., Any], *given: Any) -> None:
        self.called = call, given

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize(
    ("data", "changes", "words"),
    [
        pytest.param(
            crashing_detector(), {"toolchain": Toolchain(name="LiteRT", precisions=("fp32",))},
            "with signal SIGSEGV while litert ran it; a model that litert runs was expected", id="an engine crashes",
        ),
        pytest.param(
            pickle.dumps(Ending(sys.exit, 3)), {"trust_pickle": True},
            "with exit status 3 while it was read; a model that can be read to its end was expected", id="sys.exit",
        ),
    ],
)  # fmt: skip
def test_a_file_that_ends_the_builder_is_named(
    world: Any, tmp_path: Path, data: bytes, changes: dict[str, Any], words: str
) -> None:
    source = Artifact(uri=world.store.put(f"apart/{next(world.numbers)}", data))
    request = world.request(source=source, calibration=None, evaluation=None, gates=None, **changes)
    done = run(command(tmp_path, request, world.store))
    (line,) = (tmp_path / "log").read_text().splitlines()
    message = f"spec.source.uri {source.uri} ended the builder {words}"
    assert BuildFailure.model_validate_json(line) == BuildFailure(reason="ModelInvalid", message=message, retry=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith(f"ModelInvalid: {message}")
    assert list((tmp_path / "work").iterdir()) == []


def pictures() -> bytes:
    """Two samples of the world, as pictures."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(2):
            file = io.BytesIO()
            Image.new("L", (8, 8), 90 * number).save(file, "PNG")
            archive.writestr(f"good/{number}.png", file.getvalue())
    return buffer.getvalue()


ENDED = "{} ended the builder with signal SIGSEGV while {}; a {} was expected"
DECODED = "its picture 'good/0.png' was decoded"


@pytest.mark.parametrize(
    ("crashing", "reason", "words"),
    [
        (
            "Pipeline.prepare",
            "DatasetInvalid",
            ENDED.format("spec.evaluation.uri {0}", DECODED, "picture that is read"),
        ),
        ("gather.ask", "ModelInvalid", ENDED.format("spec.source.uri {1}", "{2} ran it", "model that {2} runs")),
        (
            "DataSet.samples",
            "Internal",
            "the builder ended with signal SIGSEGV and without a word; the last line of its",
        ),
    ],
)
def test_the_model_is_in_hand_while_its_engine_has_it_and_no_longer(
    world: Any, tmp_path: Path, crashing: str, reason: str, words: str
) -> None:
    evaluation = Artifact(uri=world.store.put(f"apart/{next(world.numbers)}.zip", pictures()))
    declared = Picture(scale=1 / 255, labels=LABELS, classification=Classification(activation="Softmax", top_k=2))
    request = world.request(picture=declared, evaluation=evaluation, calibration=None, gates=None)
    done = build(world, tmp_path, request, [(crashing, CRASHES.format("SIGSEGV"), None)])
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert (failure.reason, failure.retry, done.returncode) == (reason, False, 1)
    assert failure.message.startswith(words.format(evaluation.uri, request.build.source.uri, "onnxruntime"))


def apart(program: str, log: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as the builder is."""
    code = f"""
import sys, pathlib
from edgesmith_builder import lastwords
from edgesmith_builder.apart import run_apart
{before}
def program():
{"".join(f"    {line}" + chr(10) for line in program.splitlines())}
sys.exit(run_apart(program, pathlib.Path({str(log)!r})))
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "retry"), [("SIGSEGV", False), ("SIGFPE", False), ("SIGABRT", True), ("SIGBUS", True)]
)
def test_a_crash_with_no_file_in_hand_is_internal(tmp_path: Path, name: str, retry: bool) -> None:  # noqa: FBT001 - a parameter of the test
    done = apart(CRASHES.format(name), tmp_path / "log")
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert failure.message.startswith(f"the builder ended with signal {name} and without a word; ")
    assert (failure.reason, failure.retry, done.returncode) == ("Internal", retry, 2 if retry else 1)


@pytest.mark.parametrize("status", [0, 1, 2])
def test_what_ends_by_itself_is_not_spoken_for(tmp_path: Path, status: int) -> None:
    done = apart(f"return {status}", tmp_path / "log")
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (status, "", [])


def test_what_was_said_stands_whatever_happens_on_the_way_out(tmp_path: Path) -> None:
    done = apart(f"import atexit\natexit.register(exec, {CRASHES.format('SIGSEGV')!r})\nreturn 2", tmp_path / "log")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


def test_what_is_killed_leaves_the_word_to_the_kubelet(tmp_path: Path) -> None:
    done = apart(CRASHES.format("SIGKILL"), tmp_path / "log")
    assert (done.returncode, list(tmp_path.iterdir())) == (128 + signal.SIGKILL, [])


def test_sigterm_waits_until_it_can_be_taken(tmp_path: Path) -> None:
    taken = """import os, signal
os.kill(os.getpid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if lastwords.finished(9) is None else None)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
return 1"""
    assert apart(taken, tmp_path / "log").returncode == 9


def test_no_build_outlives_what_waits_for_it() -> None:
    # Its own end comes by itself: where nothing else ends it, the test fails and leaves nothing behind.
    program = "import os, signal\nsignal.alarm(60)\nprint(os.getpid(), flush=True)\nos.kill(os.getppid(), 9)\n"
    program += "signal.pause()"
    start = time.monotonic()
    code = f"""
from edgesmith_builder.apart import run_apart
run_apart(lambda: exec({program!r}), None)
"""
    reading, writing = os.pipe()
    with os.fdopen(reading) as ends, subprocess.Popen([sys.executable, "-c", code], stdout=writing) as waiting:
        os.close(writing)
        assert waiting.wait(PATIENCE) == -signal.SIGKILL
        assert ends.read().strip().isdigit()  # to its end, which comes once no process has the pipe open
    assert time.monotonic() - start < 60


def test_a_status_of_success_is_none_where_nothing_was_said(tmp_path: Path) -> None:
    done = apart("with lastwords.in_hand('a', 'it was read', 'b'): __import__('os')._exit(0)", tmp_path / "log")
    failure = BuildFailure.model_validate_json((tmp_path / "log").read_text())
    assert failure.message == "a ended the builder with exit status 0 while it was read; b was expected"
    assert (failure.reason, done.returncode) == ("ModelInvalid", 1)


@pytest.mark.parametrize(
    ("hands", "words"),
    [
        (["a", "b"], "a or b ended the builder with signal SIGSEGV while it ran b; a good b was expected"),
        (["a", "a"], "a ended the builder with signal SIGSEGV while it ran a; a good a was expected"),
    ],
)
def test_every_file_in_hand_is_named_and_none_that_was(tmp_path: Path, hands: list[str], words: str) -> None:
    lines = ["with lastwords.in_hand('before', 'it ran', 'a better one'): pass", "from contextlib import ExitStack"]
    lines += ["with ExitStack() as stack:"]
    lines += [f" stack.enter_context(lastwords.in_hand({one!r}, 'it ran {one}', 'a good {one}'))" for one in hands]
    apart("\n".join([*lines, f" {CRASHES.format('SIGSEGV')}"]), tmp_path / "log")
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).message == words


def test_a_file_that_was_refused_is_no_longer_in_hand(tmp_path: Path) -> None:
    refused = "try:\n with lastwords.in_hand('a', 'b', 'c'): raise ValueError\nexcept ValueError: pass\n"
    apart(refused + CRASHES.format("SIGSEGV"), tmp_path / "log")
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).reason == "Internal"


def test_the_longest_names_fit(tmp_path: Path) -> None:
    long = "with lastwords.in_hand(*['\\U0001f98a' * 9000] * 3):\n"
    inner = f"{long} with lastwords.in_hand(*['\\x01' * 9000] * 3): {CRASHES.format('SIGSEGV')}"
    apart(inner, tmp_path / "log")
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).reason == "ModelInvalid"
