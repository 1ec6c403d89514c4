"""Candidates that end the process which makes them: each is out with a reason, and the build goes on without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from builder_program import BUILDER, build, command

from edgesmith_builder.apart import Ended, why_out
from edgesmith_builder.contract import Artifact, BuildFailure, BuildReport, BuildResult, Earlier, Pruning
from edgesmith_builder.lastwords import LastWords, Trying
from edgesmith_builder.oci import Manifest, Reference, Registry
from edgesmith_builder.provenance import report_of

SEGFAULT = "__import__('ctypes').string_at(0)"
KILLED = "__import__('os').kill(__import__('os').getpid(), 9)"


async def manifest_of(image: str) -> Manifest:
    async with Registry(plain_http=True) as client:
        found = await client.manifest(Reference.parse(image))
    assert found is not None
    return found


async def made(folder: Path) -> tuple[Manifest, BuildReport]:
    """The image that the termination message names, and its report."""
    (line,) = (folder / "log").read_text().splitlines()
    manifest = await manifest_of(BuildResult.model_validate_json(line).image)
    report = report_of(manifest)
    assert report is not None
    return manifest, report


@pytest.mark.parametrize(
    ("crash", "why"),
    [
        (("onnxruntime.compile", SEGFAULT, "int8"), "with signal SIGSEGV while it was made"),
        (("onnxruntime.compile", "sys.exit(3)", "int8"), "with exit status 3 while it was made"),
        (("Yardstick.measure", SEGFAULT, "int8"), "with signal SIGSEGV while it was scored"),
        (("rung.replayed", SEGFAULT, None), "with signal SIGSEGV while its golden samples were replayed"),
    ],
    ids=["a compiler crashes", "sys.exit", "scoring crashes", "the replay crashes"],
)
async def test_the_others_go_on_and_the_report_says_why(
    world: Any, tmp_path: Path, crash: tuple[str, str, str | None], why: str
) -> None:
    where, code, form = crash
    if form is None:  # the first call is the first candidate's
        code = f"if not pathlib.Path({str(tmp_path / 'once')!r}).exists():\n"
        code += f" pathlib.Path({str(tmp_path / 'once')!r}).touch(); {SEGFAULT}"
    request = world.request(precisions=("int8", "int8-mixed", "fp32"))
    done = build(world, tmp_path, request, [(where, code, form)])
    assert done.returncode == 0, done.stderr
    manifest, report = await made(tmp_path)
    assert [(one.precision, one.rejected) for one in report.candidates] == [
        ("int8", f"it ended the builder {why}"),
        ("int8-mixed", "there is no int8 of it to leave nodes of in float"),
        ("fp32", None),
    ]
    assert f"int8: it ended the builder {why}; the build begins anew without it" in done.stderr
    assert list((tmp_path / "work").iterdir()) == []
    alone = await world.manifest(await world.build(world.request(precisions=("fp32",))))
    assert manifest.layers == alone.layers, "what is left has the bytes that it has by itself"


async def test_a_candidate_that_hangs_is_ended_with_what_it_started(world: Any, tmp_path: Path) -> None:
    assert hanging(world, tmp_path) < 300
    _, report = await made(tmp_path)
    assert [(one.precision, one.rejected) for one in report.candidates] == [
        ("int8", "it was not done within 40 s (builder.deadlineSeconds of the chart), and was ended while it was made"),
        ("fp32", None),
    ]


def hanging(world: Any, tmp_path: Path) -> float:
    """Build where the compiler of a candidate is a program that hangs; how many seconds that outlives the build."""
    # A pipe is read to its end once nobody has it open: neither the process nor the compiler that it waits for.
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = f"subprocess.run(['sleep', '600'], pass_fds=[{writing}])"
    request = world.request()
    line = command(tmp_path, request, world.store, "--candidate-seconds", "40")
    program = BUILDER.format(crashes=f"instead(onnxruntime, 'compile', {code!r}, 'int8')")
    with os.fdopen(reading) as ends:
        words = [sys.executable, "-c", program, *line[3:]]
        done = subprocess.run(words, pass_fds=[writing], capture_output=True, text=True, timeout=280, check=False)
        os.close(writing)
        assert done.returncode == 0, done.stderr
        start = time.monotonic()
        ends.read()
        return time.monotonic() - start


async def test_what_was_killed_once_is_tried_again_and_the_image_is_the_same(world: Any, tmp_path: Path) -> None:
    once = tmp_path / "once"
    code = f"p = pathlib.Path({str(once)!r})\nif not p.exists(): p.touch(); {KILLED}"
    request = world.request()
    done = build(world, tmp_path, request, [("onnxruntime.compile", code, "int8")])
    assert done.returncode == 0, done.stderr
    assert "int8: it ended the builder with signal SIGKILL while it was made; it is tried once more" in done.stderr
    whole = await world.build(world.request())
    manifest, _ = await made(tmp_path)
    assert manifest == await world.manifest(whole)


def test_where_none_is_left_there_is_one_final_condition(world: Any, tmp_path: Path) -> None:
    crashes: list[tuple[str, str, str | None]] = [
        ("onnxruntime.compile", KILLED, "int8"),
        ("onnxruntime.compile", SEGFAULT, "fp32"),
    ]
    done = build(world, tmp_path, world.request(), crashes)
    (line,) = (tmp_path / "log").read_text().splitlines()
    failure = BuildFailure.model_validate_json(line)
    int8 = "it ended the builder with signal SIGKILL while it was made a second time; "
    int8 += "more memory may be needed (builder.resources of the chart)"
    fp32 = "it ended the builder with signal SIGSEGV while it was made"
    assert (failure.reason, failure.retry, done.returncode, done.stdout) == ("NoCandidate", False, 1, "")
    assert failure.message == f"no candidate can be made that works: int8: {int8}; fp32: {fp32}"
    assert [(one.precision, one.rejected) for one in failure.candidates] == [("int8", int8), ("fp32", fp32)]
    assert list((tmp_path / "work").iterdir()) == []


async def test_what_prunes_takes_only_the_pruned_ones_out(world: Any, tmp_path: Path) -> None:
    request = world.request(pruning=Pruning(ratio=0.2))
    done = build(world, tmp_path, request, [("forms.prune", SEGFAULT, None)])
    assert done.returncode == 0, done.stderr
    _, report = await made(tmp_path)
    why = "it ended the builder with signal SIGSEGV while it was made"
    assert {one.precision: one.rejected for one in report.candidates} == {
        "int8-pruned": why,
        "int8": None,
        "fp32-pruned": why,
        "fp32": None,
    }


async def test_an_earlier_image_whose_replay_ends_the_process_is_compiled_anew(
    world: Any, tmp_path: Path, push_base: Any
) -> None:
    files = {name: getattr(world, name) for name in ("source", "calibration", "evaluation")}
    given = {name: Artifact(uri=uri, sha256=world.digest(uri)) for name, uri in files.items()}
    request = world.request(precisions=("fp32",), **given)
    before = await world.build(request)
    base = await push_base(world.registry, "edgesmith/newer", layer_text="a newer layer of")
    earlier = Earlier(digest=before.image.partition("@")[2], bundle=request.build.bundle_key("Edgesmith"))
    wanted = request.build.model_copy(update={"base": base})
    again = request.model_copy(update={"build": wanted, "earlier": earlier})
    done = build(world, tmp_path, again, [("taken.replayed", SEGFAULT, None)])
    assert done.returncode == 0, done.stderr
    _, report = await made(tmp_path)
    assert (report.rebased_from, [one.rejected for one in report.candidates]) == (None, [None])
    why = "it ended the builder with signal SIGSEGV while its golden samples were replayed"
    assert f"the earlier image: {why}; the build begins anew without it" in done.stderr
    assert f"it is compiled and not re-based from the earlier image: {why}" in done.stderr


# The process that waits ----------------------------------------------------------------------------------------------

AT_WORK = LastWords(trying=Trying("int8", "it was made", 0.0))


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        pytest.param(Ended(-signal.SIGSEGV), LastWords(), id="no candidate was in hand"),
        pytest.param(Ended(1), LastWords(1, trying=AT_WORK.trying), id="all was said"),
        pytest.param(Ended(-signal.SIGINT), AT_WORK, id="somebody stopped it at a terminal"),
        pytest.param(Ended(-signal.SIGTERM), AT_WORK, id="a signal from outside"),
        pytest.param(Ended(-signal.SIGSEGV, stopped=True), AT_WORK, id="it crashed on its way out"),
        pytest.param(Ended(-signal.SIGKILL, 5.0, stopped=True), AT_WORK, id="it hung on its way out"),
    ],
)
def test_no_candidate_is_blamed(ended: Ended, words: LastWords) -> None:
    assert why_out(ended, words, again=False) is None


WAITS = """
import os, pathlib, signal, sys
from edgesmith_builder import lastwords
from edgesmith_builder.apart import run_apart
ran = pathlib.Path({ran!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run of the tests behind a shell ignores it
def program():
    with ran.open('a') as file: file.write('x')
{program}
sys.exit(run_apart(program, pathlib.Path({log!r}), {seconds}))
"""


def waited(program: str, folder: Path, seconds: float | None = None) -> tuple[int, int]:
    """Run a program as the builder is: how it ended, and how many processes ran it."""
    program = "".join(f"    {line}\n" for line in program.splitlines())
    code = WAITS.format(ran=str(folder / "ran"), program=program, log=str(folder / "log"), seconds=seconds)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, len((folder / "ran").read_text())


@pytest.mark.parametrize(
    ("crash", "runs"), [("signal.SIGSEGV", 2), ("signal.SIGKILL", 3), ("signal.SIGABRT", 3), ("signal.SIGBUS", 3)]
)
def test_what_a_lack_of_memory_looks_like_is_tried_twice(tmp_path: Path, crash: str, runs: int) -> None:
    program = f"if lastwords.left_out('a'): return 7\nwith lastwords.trying('a'): os.kill(os.getpid(), {crash})"
    assert waited(program, tmp_path) == (7, runs)


def test_a_candidate_that_is_over_is_not_blamed_nor_is_the_next_for_its_time(tmp_path: Path) -> None:
    program = "import time\nfor one in range(5):\n with lastwords.trying(str(one)): time.sleep(2.5)\n"
    assert waited(program + "return 0", tmp_path, 10) == (0, 1)
    (tmp_path / "ran").unlink()
    over = "try:\n with lastwords.trying('a'): raise ValueError\nexcept ValueError: pass\nos.kill(os.getpid(), 11)"
    assert waited(over, tmp_path) == (1, 1)
    assert BuildFailure.model_validate_json((tmp_path / "log").read_text()).reason == "Internal"


def test_a_build_that_was_told_to_end_does_not_begin_anew(tmp_path: Path) -> None:
    program = "with lastwords.trying('a'):\n signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), 11))\n"
    program += " signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\n"
    program += " os.kill(os.getppid(), signal.SIGTERM)\n signal.pause()"
    assert waited(program, tmp_path) == (128 + signal.SIGTERM, 1)
    assert not (tmp_path / "log").exists()


def test_each_process_has_the_terminal_s_signal_as_the_first(tmp_path: Path) -> None:
    program = "if lastwords.left_out('a'): return 7 if signal.getsignal(2) is signal.default_int_handler else 8\n"
    assert waited(f"{program}with lastwords.trying('a'): os._exit(0)", tmp_path) == (7, 2)
