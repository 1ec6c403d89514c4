"""`edgesmith archive` as somebody types it: what is wrong is said before anything long, and no file is left half."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
from pathlib import Path

import pytest
from archives import ArchiveError, archive_of

from edgesmith.archive.opened import Archive
from edgesmith.archive.tar import END
from edgesmith.archive.whole import whole
from edgesmith.cli import main


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A good one."""
    asyncio.run(archive_of(tmp_path))
    return tmp_path / "good.tar"


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may look at an archive."""

    def opened(_path: Path) -> Archive:
        raise AssertionError("an archive was read before the command line was judged")

    monkeypatch.setattr(Archive, "open", opened)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("target", ["https://hub", "Hub/UPPER", "hub//x", "hub/", ""])
def test_a_registry_that_is_none_is_said_before_the_archive_is_read(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["archive", "import", "a.tar", "--registry", target]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edgesmith: the registry is {target!r}; HOST[:PORT] or HOST[:PORT]/PREFIX was expected")


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("option", "content", "says"),
    [
        (
            "--registry-credentials",
            None,
            "--registry-credentials names no file that can be read: No such file or directory",
        ),
        ("--registry-credentials", b"\xff", "is not a .dockerconfigjson"),
        ("--registry-ca", None, "cannot be used: No such file or directory"),
        ("--registry-ca", b"\xff text", "the certificates of the authorities cannot be read (0 blocks found)"),
    ],
)
def test_a_login_or_an_authority_that_is_none_is_said_before_the_archive_is_read(
    option: str, content: bytes | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "given"
    if content is not None:
        file.write_bytes(content)
    assert main(["archive", "import", "a.tar", "--registry", "hub", option, str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("name", ["nowhere", "a-file"])
def test_an_images_folder_that_is_none_is_said_before_the_archive_is_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").touch()
    folder = str(tmp_path / name)
    assert main(["archive", "import", "a.tar", "--registry", "hub", "--images-folder", folder]) == 1
    said = f"edgesmith: --images-folder is {folder!r}; a folder that is there was expected\n"
    assert capsys.readouterr().err == said


def test_a_login_that_is_none_is_said_before_the_cluster_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    login = ["--registry-credentials", str(tmp_path / "nowhere")]
    assert main(["archive", "export", "-f", str(tmp_path / "a.tar"), "--kubeconfig", "/nowhere", *login]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "edgesmith: --registry-credentials names no file that can be read: No such file or directory"
    )


def test_programs_are_told_of_the_file_for_k3s(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    words = ["archive", "import", str(archive), "--registry", "hub", "--images-folder", str(folder), "-o", "json"]
    assert main(words) == 0
    (file,) = folder.iterdir()
    assert file.read_bytes().endswith(END)
    assert json.loads(capsys.readouterr().out) == {"file": str(file), "bytes": file.stat().st_size}


def test_manifests_are_whole_or_as_they_were(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    file = tmp_path / "parts.yaml"
    file.write_text("before")
    words = ["archive", "import", str(archive), "--registry", "hub", "--images-folder", str(tmp_path / "images")]

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert main([*words, "--manifests", str(file)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"edgesmith: {file} cannot be used: No space left on device"
    assert file.read_text() == "before"
    assert not list(tmp_path.glob("*.part"))
    assert main([*words, "--manifests", str(file)]) == 0
    assert "kind: EdgeModel" in file.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.tar", "images", "parts.yaml"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(ArchiveError, match="is no plain file"), whole(tmp_path / name):
            pytest.fail("nothing may be written")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]
