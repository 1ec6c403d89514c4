"""What is taken out of samples, and that a sample goes whole where that fails."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.sampling import program
from edgesmith_runtime.sampling.redaction import Redaction, RedactionFailed, Rule, rules_of
from edgesmith_runtime.sampling.sample import (
    Facts,
    SampleInvalid,
    pack,
    pack_arrays,
    unpack_arrays,
)
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTS = Facts("m", "d" * 64, "int8", "n1", "Random", 4, 0.5, None, True, 1.5e9, "boot", 12.5, redacted=False)
IMAGE = np.arange(2 * 4 * 6, dtype=np.float32).reshape(1, 2, 4, 6)


def applied(*rules: Rule, command: tuple[str, ...] = (), **inputs: Any) -> dict[str, Any]:
    left, outputs = Redaction(rules, command).apply(inputs or {"image": IMAGE}, {"y": np.ones((1, 3), np.float32)})
    return {**left, **outputs}


def test_a_tensor_is_left_out() -> None:
    assert set(applied(Rule("image", "Drop"))) == {"y"}
    assert set(applied(Rule("y", "Drop"))) == {"image"}


def test_a_rectangle_is_set_to_nothing_and_the_rest_stays() -> None:
    found = applied(Rule("image", "Mask", top=1, left=2, height=2, width=3))["image"]
    assert (found[..., 1:3, 2:5] == 0).all()
    outside = np.ones((4, 6), bool)
    outside[1:3, 2:5] = False
    assert (found[..., outside] == IMAGE[..., outside]).all()
    assert IMAGE[0, 0, 1, 2] != 0  # the model's own input is as it was
    last = applied(Rule("image", "Mask", height=1, width=6, layout="NHWC"), image=np.moveaxis(IMAGE, 1, -1) + 1)
    assert (last["image"][:, 0] == 0).all()
    assert (last["image"][:, 1:] != 0).all()


def test_blocks_are_set_to_their_mean() -> None:
    found = applied(Rule("image", "Coarsen", block=4))["image"]
    assert found.shape == IMAGE.shape
    assert (found[0, 0, :, :4] == IMAGE[0, 0, :, :4].mean()).all()
    assert (found[0, 1, :, 4:] == IMAGE[0, 1, :, 4:].mean()).all()
    bytes_ = applied(Rule("image", "Coarsen", block=2), image=np.array([[[0, 1], [1, 1]]], np.uint8))["image"]
    assert (bytes_.dtype, bytes_.tolist()) == (np.uint8, [[[1, 1], [1, 1]]])


@pytest.mark.parametrize(
    ("rule", "tensor"),
    [
        (Rule("image", "Mask", top=3, height=2, width=1), IMAGE),
        (Rule("image", "Mask", height=1, width=1), np.ones(3)),
        (Rule("image", "Coarsen", block=2, layout="NHWC"), np.ones((2, 2))),
        (Rule("image", "Mask", height=1, width=1), np.array([["a", "b"]], object)),
    ],
)
def test_what_cannot_be_taken_out_takes_the_sample(rule: Rule, tensor: Any) -> None:
    with pytest.raises(RedactionFailed, match="the tensor 'image'"):
        applied(rule, image=tensor)


def test_rules_are_read_and_held_against_the_model() -> None:
    rules = rules_of('[{"tensor": "image", "action": "Mask", "top": 1, "left": 2, "height": 3, "width": 4}]')
    assert rules == (Rule("image", "Mask", 1, 2, 3, 4),)
    redaction = Redaction(rules)
    assert redaction.unknown(["image"]) is None
    assert redaction.unknown(["x"]) == "image"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[{"tensor": "x"}]', '[{"tensor": "x", "action": "Blur"}]', "[" * 10_000,
     '[{"tensor": "x", "action": "Mask", "top": -1}]', '[{"tensor": "x", "action": "Coarsen", "block": 0}]',
     '[{"tensor": "x", "action": "Mask", "top": 1.5}]', '[{"tensor": "x", "action": "Mask", "layout": "HW"}]'],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    if text == "{}":
        assert rules_of(text) == ()
        return
    with pytest.raises(ValueError, match=r"rule"):
        rules_of(text)


# A program of the owner's own -----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has as long as a test, also where others have the cores."""
    monkeypatch.setattr(program, "_SECONDS", PATIENCE)


DOUBLING = """
import io, sys, numpy as np
arrays = dict(np.load(io.BytesIO(sys.stdin.buffer.read())))
arrays["inputs/image"] = arrays["inputs/image"] * 2
del arrays["outputs/y"]
np.savez(sys.stdout.buffer, **arrays)
"""


def script(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def test_a_program_answers_what_is_left() -> None:
    found = applied(command=script(DOUBLING))
    assert set(found) == {"image"}
    assert (found["image"] == IMAGE * 2).all()


def test_rules_come_before_the_program() -> None:
    assert set(
        applied(Rule("y", "Drop"), command=script("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"))
    ) == {"image"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys; sys.stdin.read(); sys.exit(3)", "ended with exit status 3"),
        ("raise SystemExit(1)", "ended with exit status 1|no sample"),
        ("print('all well')", "no sample"),
        ("", "no sample"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended with signal SIGSEGV|no sample"),
        ("import io, sys, numpy as np; np.savez(sys.stdout.buffer, secret=np.ones(3))", "was not given"),
        (("import io, sys, numpy as np; a = np.empty(1, object); a[0] = print; "
         "np.savez(sys.stdout.buffer, **{'inputs/image': a})"), "no sample"),
        # It is bounded before it is given anything.
        ("import sys; sys.stdin.read(1); import numpy; numpy.ones(1 << 30)", "ended with exit status 1"),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "answered more than"),
    ],
)  # fmt: skip
def test_a_program_that_fails_takes_the_sample(text: str, words: str) -> None:
    with pytest.raises(RedactionFailed, match=words):
        applied(command=script(text))


def test_a_program_that_is_not_there_or_takes_for_ever_takes_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RedactionFailed, match="cannot be started"):
        applied(command=("/nowhere/redact",))
    monkeypatch.setattr(program, "_SECONDS", 0.5)
    with pytest.raises(RedactionFailed, match="took more than"):
        applied(command=script("import time; time.sleep(60)"))


def pids_under(marks: Path) -> list[int]:
    """Processes that made a file there of their number."""
    return [int(one.name) for one in marks.iterdir()]


def leaves(marks: Path, then: str, *, apart: bool = False) -> tuple[str, ...]:
    """A program that starts a helper, which says its number and lives long, and then does something else."""
    helper = f"touch {marks}/$$; exec sleep 600"
    return ("sh", "-c", f"{'setsid ' if apart else ''}sh -c '{helper}' {then}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until_over(pids: list[int]) -> None:
    """Wait until processes are there no more: whoever they were left to has reaped them."""
    end = time.monotonic() + PATIENCE
    while any(map(is_alive, pids)):
        assert time.monotonic() < end, "a helper is left"
        time.sleep(0.01)


STARTED = 'while [ -z "$(ls {marks})" ]; do :; done'
BOUNDS = (1.0, 4.0, 16.0)
"""Seconds that a program may take; more are tried where what it starts did not begin in time."""


def helpers_of_one_that_is_late(marks: Path, monkeypatch: pytest.MonkeyPatch, *, apart: bool = False) -> list[int]:
    """What a program started that took too long, since that held its pipe."""
    for seconds in BOUNDS:
        monkeypatch.setattr(program, "_SECONDS", seconds)
        began = time.monotonic()
        with pytest.raises(RedactionFailed, match="took more than"):
            applied(command=leaves(marks, f"& {STARTED.format(marks=marks)}; exit 0", apart=apart))
        assert time.monotonic() - began < PATIENCE
        if found := pids_under(marks):
            return found
    pytest.fail(f"no helper began within {seconds} s")


@pytest.fixture
def reaps() -> Iterator[None]:
    """This process is given what others leave behind, as the first process of a container is."""
    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)
    yield
    prctl(36, 0, 0, 0, 0)


@pytest.mark.usefixtures("reaps")
def test_a_program_that_left_another_with_its_pipe_takes_no_longer_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (helper,) = helpers_of_one_that_is_late(tmp_path, monkeypatch)
    assert not is_alive(helper), "it is left, or nobody has reaped it"


@pytest.mark.usefixtures("reaps")
def test_what_a_program_left_behind_ends_where_it_answered_well_too(tmp_path: Path) -> None:
    then = f">/dev/null & {STARTED.format(marks=tmp_path)}; exec cat"
    assert set(applied(command=leaves(tmp_path, then))) == {"image", "y"}
    (helper,) = pids_under(tmp_path)
    assert not is_alive(helper)


def test_a_program_that_left_another_in_a_session_of_its_own_takes_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helpers = helpers_of_one_that_is_late(tmp_path, monkeypatch, apart=True)
    for helper in helpers:  # one of a program before may have begun late
        os.kill(helper, signal.SIGKILL)
    until_over(helpers)


def test_a_program_that_ends_its_answer_and_goes_on_takes_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_SECONDS", 0.5)
    with pytest.raises(RedactionFailed, match="took more than"):
        applied(command=("sh", "-c", "cat; exec >&-; exec sleep 600"))


def test_a_program_that_reads_nothing_takes_the_sample_however_much_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than a pipe holds is on its way then."""
    monkeypatch.setattr(program, "_SECONDS", 0.5)
    with pytest.raises(RedactionFailed, match="took more than"):
        applied(command=("sleep", "600"), image=np.zeros(1 << 20))


def test_a_program_need_not_read_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(pack_arrays({"inputs/image": IMAGE}))
    found = applied(command=("cat", str(tmp_path / "answer")), image=np.zeros(1 << 20))
    assert (found["image"] == IMAGE).all()


def test_a_program_may_answer_while_it_is_given_more(tmp_path: Path) -> None:
    image = np.random.default_rng(1).standard_normal(1 << 19)
    found = applied(command=("cat",), image=image)
    assert (found["image"] == image).all()
    found = applied(command=("sh", "-c", f"cat >{tmp_path}/a; cat {tmp_path}/a"), image=image)
    assert (found["image"] == image).all()


def test_a_program_hears_nothing_of_the_server_and_its_own_words_go_nowhere(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "do not tell")
    text = "import os, sys; sys.stderr.write('pixels'); sys.exit('SECRET' in os.environ)"
    with pytest.raises(RedactionFailed, match="no sample"):
        applied(command=script(text))
    assert "pixels" not in capfd.readouterr().err


# The object -----------------------------------------------------------------------------------------------------------


def test_a_sample_is_the_same_bytes_each_time_and_reads_as_numpy_reads(tmp_path: Path) -> None:
    inputs = {"image": IMAGE, "text": np.array([["grüße", "b"]], object)}
    data = pack(FACTS, inputs, {"y": np.ones((1, 3), np.float32)})
    assert data == pack(FACTS, dict(reversed(inputs.items())), {"y": np.ones((1, 3), np.float32)})
    (tmp_path / "a.npz").write_bytes(data)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert (found["inputs/image"] == IMAGE).all()
        assert found["inputs/text"].tolist() == [["grüße", "b"]]
        said = json.loads(bytes(found["sample"]))
    assert said["probability"] == 0.25
    assert (said["of"], said["sinceBoot"], said["version"], said["redacted"]) == (4, 12.5, 1, False)


@pytest.mark.parametrize("data", [b"", b"PK\5\6" + bytes(18), b"text"])
def test_bytes_that_are_no_sample_are_refused(data: bytes) -> None:
    if data.startswith(b"PK"):
        assert unpack_arrays(data, 100) == {}
        return
    with pytest.raises(SampleInvalid):
        unpack_arrays(data, 100)


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_does() -> None:
    with pytest.raises(SampleInvalid, match="unpacks to more"):
        unpack_arrays(pack_arrays({"inputs/x": np.zeros(10**6)}), 10**6)
