"""What ends a program of ours though nobody foresaw it is its last word: real processes, spoiled from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgesmith_runtime.termination import LONGEST
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle

UPLINK = ["uplink", "--bucket", "s3://place", "--owner", "a/b", "--node", "n"]
REPORT = ["report", "--service", "toy"]

_PLANTED = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {error}

sys.meta_path.insert(0, Broken())
"""
_REPLACED = """
import {module}

def broken(*arguments, **named):
    raise {error}

{module}.{name} = broken
"""


def ended(
    folder: Path, words: list[str], *, planted: str = "", program: str = "edgesmith_runtime", left: str = ""
) -> tuple[subprocess.CompletedProcess[str], str]:
    """A process that ran to its end with `planted` run before it, and what its termination log has then."""
    (folder / "sitecustomize.py").write_text(planted)
    log = folder / "log"
    log.write_text(left)
    command = [sys.executable, "-m", program, *words]
    if words != ["wait"]:
        command += ["--termination-log", str(log)]
    path = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    return done, log.read_text()


def said(log: str) -> str:
    document: dict[str, Any] = json.loads(log)
    assert (document["verdict"], document["reason"]) == ("Failed", "InternalError")
    assert len(log) <= LONGEST
    assert log.endswith("}\n")
    assert "Traceback" not in document["message"]
    assert "\n" not in document["message"]
    return str(document["message"])


@pytest.mark.parametrize(
    ("words", "module", "program"),
    [
        (["serve"], "uvloop", "edgesmith_runtime"),
        (["serve"], "edgesmith_runtime.cli", "edgesmith_runtime"),
        (["selftest"], "edgesmith_runtime.selftest", "edgesmith_runtime"),
        (UPLINK, "edgesmith_runtime.uplink.command", "edgesmith_runtime"),
        (REPORT, "edgesmith_runtime.services", "edgesmith_runtime"),
        (["serve"], "edgesmith_runtime.triton.command", "edgesmith_runtime.triton"),
        (["selftest"], "edgesmith_runtime.triton.cli", "edgesmith_runtime.triton"),
    ],
)
def test_what_cannot_be_imported_is_told(words: list[str], module: str, program: str, tmp_path: Path) -> None:
    planted = _PLANTED.format(module=module, error=f"ModuleNotFoundError('No module named {module}')")
    done, log = ended(tmp_path, words, planted=planted, program=program)
    assert said(log) == f"{words[0]} ended with ModuleNotFoundError: No module named {module}"
    assert done.returncode == 1
    assert "raceback" in done.stderr
    assert "find_spec" in done.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("MemoryError()", "serve ended with MemoryError"),
        ("KeyboardInterrupt()", "serve ended with KeyboardInterrupt"),
        ("SystemExit(3)", "serve ended with SystemExit: 3"),
        ("SystemExit('no words')", "serve ended with SystemExit: no words"),
        (r"OSError('a \"path\"\nof C:\\ä 🦊')", 'serve ended with OSError: a "path" of C:\\ä ?'),
        ("type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "serve ended with Odd"),
        ("ValueError('é' * 9000)", f"serve ended with ValueError: {'é' * 600}"[:600]),
    ],
)
def test_whatever_it_is_one_bounded_sentence_tells_it(error: str, told: str, tmp_path: Path) -> None:
    done, log = ended(tmp_path, ["serve"], planted=_PLANTED.format(module="edgesmith_runtime.cli", error=error))
    assert said(log) == told
    assert done.returncode == (3 if error == "SystemExit(3)" else 1)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["serve", "--http-port", "0", "--grpc-port", "0"], "edgesmith_runtime.loading.read_bundle"),
        (["serve", "--http-port", "0", "--grpc-port", "0"], "edgesmith_runtime.serve.Dispatcher"),
        (["selftest"], "edgesmith_runtime.selftest.measure"),
    ],
)
def test_a_mistake_in_the_midst_of_it_is_told(words: list[str], place: str, toy: Bundle, tmp_path: Path) -> None:
    module, _, name = place.rpartition(".")
    planted = _REPLACED.format(module=module, name=name, error="KeyError('planted')")
    done, log = ended(tmp_path, [*words, "--bundle", str(toy.folder)], planted=planted)
    assert said(log) == f"{words[0]} ended with KeyError: 'planted'"
    assert done.returncode == 1
    line = json.loads(done.stderr.splitlines()[-1])
    assert (line["level"], line["exception"]) == ("critical", "KeyError")
    assert "in broken" in line["traceback"]


@pytest.mark.parametrize(
    ("words", "program", "why"),
    [
        (["serve", "--thread", "0"], "edgesmith_runtime", "argument --threads: '0' is below 1"),
        (["serve", "--soon"], "edgesmith_runtime", "unrecognized arguments: --soon"),
        (["selftest", "--max-latency-ms", "soon"], "edgesmith_runtime", "argument --max-latency-ms: invalid"),
        (["report"], "edgesmith_runtime", "the following arguments are required: --service"),
        ([*UPLINK[:-1], ""], "edgesmith_runtime", "--node is empty"),
        ([*UPLINK, "--soon"], "edgesmith_runtime", "unrecognized arguments: --soon"),
        (["serve", "--soon"], "edgesmith_runtime.triton", "unrecognized arguments: --soon"),
    ],
)
def test_arguments_that_are_not_taken_are_told(words: list[str], program: str, why: str, tmp_path: Path) -> None:
    done, log = ended(tmp_path, words, program=program)
    assert said(log).startswith(f"{words[0]} does not take its arguments: {why}")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_the_option_is_found_in_both_its_forms(tmp_path: Path) -> None:
    log = tmp_path / "other"
    log.touch()
    command = [sys.executable, "-m", "edgesmith_runtime", "serve", f"--termination-log={log}", "--soon"]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 2
    assert said(log.read_text())


def test_no_file_is_made_for_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgesmith_runtime", "serve", "--termination-log", str(tmp_path / "log"), "--soon"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "Traceback" not in done.stderr


def test_what_was_left_before_stays(tmp_path: Path) -> None:
    """A reporter's verdict, or why a server ends, says more than that it could not even end well."""
    planted = _REPLACED.format(module="edgesmith_runtime.reporting", name="service_of", error="KeyError('planted')")
    done, log = ended(tmp_path, [*REPORT, "--notes", str(tmp_path)], planted=planted, left="what it told")
    assert (done.returncode, log) == (1, "what it told")
    done, log = ended(tmp_path, [*REPORT, "--notes", str(tmp_path)], planted=planted)
    assert said(log) == "report ended with KeyError: 'planted'"


def test_what_ends_well_or_is_helped_leaves_nothing(tmp_path: Path) -> None:
    done, log = ended(tmp_path, ["serve", "--help"])
    assert (done.returncode, log) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    (tmp_path / "sitecustomize.py").write_text(
        "import edgesmith_runtime.cli\n"
        "edgesmith_runtime.cli.build_parser = lambda: print(flush=True) or __import__('time').sleep(60)\n"
    )
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-m", "edgesmith_runtime", "serve", "--termination-log", str(log)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(PATIENCE) == -number
    assert log.read_text() == ""


def test_another_thread_does_not_keep_the_process(tmp_path: Path) -> None:
    planted = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + _PLANTED.format(
        module="edgesmith_runtime.cli", error="KeyError('planted')"
    )
    done, log = ended(tmp_path, ["serve"], planted=planted)
    assert (done.returncode, said(log)) == (1, "serve ended with KeyError: 'planted'")
