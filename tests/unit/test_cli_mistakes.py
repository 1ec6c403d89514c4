"""What people type wrong in their first hour: one sentence with the field, the value and what was expected."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from edgesmith.cli import main
from edgesmith.cli.documents import DocumentError, load
from edgesmith_builder.oci import Credentials

EDGESMITH = [sys.executable, "-m", "edgesmith.cli"]
PROFILE = "apiVersion: edgesmith.dev/v1alpha1\nkind: DeviceProfile\nmetadata: {name: mine}\n"
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {}}],
}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\xff", "cannot be read: it is not UTF-8; YAML was expected"),
        (b"a\x00b", "is not YAML: unacceptable character #x0000: special characters are not allowed"),
        (b"a: [\n", "is not YAML: line 2, column 1: expected the node content, but found '<stream end>'"),
        (b"a: b: c\n", "is not YAML: line 1, column 5: mapping values are not allowed here"),
        (b"[" * 700, "is not YAML: maximum recursion depth exceeded"),
        (b"9" * 5000, "; an object was expected"),
        (b"&a [*a]", "has more than 100000 values; fewer were expected, and no anchor within itself"),
        (b"1: x", "has the key 1; text was expected"),
        (b"a: !!binary aGk=", "has the value b'hi'; what JSON can hold was expected"),
        (b"a: .nan", "has the value nan; what JSON can hold was expected"),
        (b"- 1\n- 2\n", "is [1, 2]; an object was expected"),
        (PROFILE.encode() + b"spec: {nodeSelector: {2030-01-01: x}, platform: 3}", "spec.platform is 3; an object"),
    ],
)
def test_a_file_that_is_something_else_is_said_in_one_sentence(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    assert main(["profile", "validate", str(file)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert str(file) in line
    assert says in line
    assert main(["profile", "detect", "-f", str(file)]) == 1
    found = capsys.readouterr().err
    assert found.startswith((f"edgesmith: {file}", f"edgesmith: document 1 of {file}"))
    assert found.count("\n") == 1


def test_an_edgemodel_is_not_held_against_the_fields_of_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(PROFILE.replace("DeviceProfile", "EdgeModel") + "spec: {source: {uri: s3://a/b.onnx}}")
    assert main(["profile", "validate", str(file)]) == 1
    said = capsys.readouterr().out
    assert said == f'{file}: document 1, mine: kind is "EdgeModel"; DeviceProfile was expected\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("a: [", "is not YAML: line 1, column 5: "),
        ("# nothing", "contains no object; an EdgeModel was expected"),
        (
            "kind: Pod\napiVersion: v1",
            "is v1 Pod; an EdgeModel or DeviceProfile of edgesmith.dev/v1alpha1 was expected",
        ),
        (PROFILE.replace("mine", "3"), "has no metadata.name; a name was expected"),
        (PROFILE.replace("mine", "mine, namespace: 3"), "has the metadata.namespace 3; text was expected"),
    ],
)
def test_what_is_wrong_with_the_file_of_a_plan_needs_no_cluster_to_be_said(
    text: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.yaml"
    if text is not None:
        file.write_text(text)
    assert main(["plan", "-f", str(file), "--kubeconfig", "/nowhere"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(file) in line
    assert says in line


def test_a_bomb_of_anchors_is_no_work(tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 10)]
    file.write_text("\n".join(lines))
    with pytest.raises(DocumentError, match="has more than 100000 values"):
        load(str(file))


def test_dates_are_text_as_they_are_for_kubectl(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("a: 2030-01-01\n2030-01-02: b\n")
    assert load(str(file)) == [{"a": "2030-01-01", "2030-01-02": "b"}]


def test_a_folder_in_the_place_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "validate", str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"{tmp_path} cannot be read: Is a directory\n"
    assert main(["status", "--kubeconfig", str(tmp_path)]) == 1
    assert "is not a file; set KUBECONFIG or pass --kubeconfig" in capsys.readouterr().err
    words = ["archive", "import", str(tmp_path), "--registry", "hub"]
    assert main(words) == 1
    assert capsys.readouterr().err == f"edgesmith: {tmp_path} cannot be used: Is a directory\n"


def test_an_archive_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["archive", "import", str(tmp_path / "a.tar"), "--registry", "hub"]) == 1
    assert capsys.readouterr().err == f"edgesmith: {tmp_path / 'a.tar'} cannot be used: No such file or directory\n"


def test_an_archive_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(b"\x89PNG\r\n" * 1000)
    assert main(["archive", "import", str(file), "--registry", "hub"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edgesmith: {file} cannot be used: the archive has no tar header at byte 0")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"text", b"[1]", b"{}", b"clusters: 3", b"a: [", b"apiVersion: v1\nkind: Config\n"]
)
def test_a_kubeconfig_that_is_none(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    assert main(["status", "--kubeconfig", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edgesmith: No cluster: the kubeconfig {file} ")


def test_a_context_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = kubeconfig(tmp_path, 1)
    assert main(["status", "--kubeconfig", str(file), "--context", "other"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "other" in line


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({"certificate-authority-data": "eA=="}, {}),
        ({}, {"client-certificate-data": "eA==", "client-key-data": "eA=="}),
    ],
)
def test_a_certificate_that_is_none(
    cluster: dict[str, str], user: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config"
    clusters = [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", **cluster}}]
    file.write_text(yaml.safe_dump(KUBECONFIG | {"clusters": clusters, "users": [{"name": "u", "user": user}]}))
    assert main(["status", "--kubeconfig", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgesmith: No cluster: a certificate or key for https://127.0.0.1:1 cannot be read (")


def kubeconfig(folder: Path, port: int) -> Path:
    """One that names an API server on this machine."""
    file = folder / "kubeconfig"
    file.write_text(
        yaml.safe_dump(KUBECONFIG | {"clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}]})
    )
    return file


def test_nobody_at_the_api_servers_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--kubeconfig", str(kubeconfig(tmp_path, 1))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the API server at http://127.0.0.1:1 cannot be reached" in line


def test_an_api_server_that_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesmith.cli.asking._TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main(["status", "--kubeconfig", str(kubeconfig(tmp_path, silent.getsockname()[1]))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("cannot be reached: it did not answer in time")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a shell runs in the background ignores Ctrl-C, and so would a command that is started from there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = [*EDGESMITH, "status", "--kubeconfig", str(kubeconfig(tmp_path, silent.getsockname()[1]))]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
            connection.close()
    assert (process.returncode, said) == (130, "")


def test_ctrl_c_while_a_command_is_imported() -> None:
    """Imports are most of what a short command does."""
    code = """
import edgesmith.cli
def interrupted(module):
    raise KeyboardInterrupt
edgesmith.cli.command_of = interrupted
print(edgesmith.cli.main(["status"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("130\n", "")


def test_a_package_that_is_missing_is_named() -> None:
    code = (
        "import sys; sys.modules['pydantic'] = None; from edgesmith.cli import main; print(main(['profile', 'list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = "edgesmith: the package pydantic is not installed; those of edgesmith[operator] were expected\n"
    assert (done.stdout, done.stderr) == ("1\n", expected)


@pytest.mark.parametrize("words", [["--help"], ["profile", "list"]])
def test_a_full_disk_or_a_closed_pipe_is_no_traceback(words: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

    def into(output: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*EDGESMITH, *words], env=environment, stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )

    with Path("/dev/full").open("w") as full:
        done = into(full.fileno())
    assert (done.returncode, done.stderr) == (
        1, "edgesmith: standard output cannot be written: No space left on device\n",
    )  # fmt: skip
    read, write = os.pipe()
    os.close(read)
    done = into(write)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_narrow_terminal_and_none_at_all() -> None:
    environment = os.environ | {"COLUMNS": "40", "PYTHONIOENCODING": "ascii"}
    for words in (["plan", "--help"], ["profile", "list"], ["profile", "detect"]):
        done = subprocess.run(
            [*EDGESMITH, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        assert done.stdout


def test_what_a_system_refuses_is_said_without_its_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_module: str) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("edgesmith.cli.command_of", full)
    assert main(["profile", "list"]) == 1
    assert capsys.readouterr() == ("", "edgesmith: No space left on device\n")


def test_standard_input_that_is_closed() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *EDGESMITH, "profile", "validate", "-"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "- contains no object; a DeviceProfile was expected\n")


def test_credentials_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"is not a \.dockerconfigjson; .* was expected"):
        Credentials.from_file(file, "--registry-credentials")


def test_a_login_in_the_place_of_its_file_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(PROFILE)
    monkeypatch.setenv("EDGESMITH_REGISTRY_CREDENTIALS", "robot:s3cret")
    for words, name in (([], "EDGESMITH_REGISTRY_CREDENTIALS"), (["--registry-credentials", "s3cret"], "--registry-c")):
        assert main(["plan", "-f", str(file), "--kubeconfig", "/nowhere", *words]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"edgesmith: {name}")
        assert "names no file that can be read: No such file or directory" in said
        assert "s3cret" not in said
