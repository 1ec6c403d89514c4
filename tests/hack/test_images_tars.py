"""Archives that depend on their contents alone, and layers that are compressed once."""

import gzip
import io
import os
import tarfile
import time
from pathlib import Path

from edgesmith_images import layers, tars


def _tree(root: Path, order: list[str]) -> Path:
    for name in order:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "link").symlink_to("b/one")
    return root


def test_a_folder_packs_to_the_same_bytes_whatever_its_times_order_and_modes(tmp_path: Path) -> None:
    first = _tree(tmp_path / "1", ["b/one", "a/two", "c"])
    second = _tree(tmp_path / "2", ["c", "a/two", "b/one"])
    os.utime(second / "c", (1, 1))
    (second / "c").chmod(0o600)
    (second / "a").chmod(0o700)
    assert tars.pack(first, tmp_path / "1.tar", {}) == tars.pack(second, tmp_path / "2.tar", {})
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_a_packed_folder_belongs_to_root_except_what_is_said(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root", ["home/user/x", "y"])
    (root / "y").chmod(0o755)
    tars.pack(root, tmp_path / "x.tar", {"home/user": 65532})
    with tarfile.open(tmp_path / "x.tar") as archive:
        members = {member.name: member for member in archive}
    assert {name: member.uid for name, member in members.items() if member.uid} == {"home/user": 65532}
    assert members["y"].mode == 0o755
    assert members["home/user/x"].mode == 0o644
    assert {member.mtime for member in members.values()} == {0}


def _archive(path: Path, entries: list[tuple[str, bytes, str]], mtime: int) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            member.type, member.mtime, member.uname, member.mode = kind, mtime, "somebody", 0o640
            if kind == tarfile.LNKTYPE:
                member.linkname = content
                archive.addfile(member)
            elif kind == tarfile.DIRTYPE:
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content.encode()))
    return path


def test_a_tools_layer_is_rewritten_to_the_same_bytes(tmp_path: Path) -> None:
    entries = [
        ("opt/", tarfile.DIRTYPE, ""),
        ("opt/z", tarfile.REGTYPE, "zz"),
        ("opt/a", tarfile.LNKTYPE, "opt/z"),
        ("opt/b", tarfile.REGTYPE, "b"),
    ]
    one = _archive(tmp_path / "1.tar", entries, 1)
    two = _archive(tmp_path / "2.tar", [entries[0], entries[3], entries[1], entries[2]], int(time.time()))
    assert tars.repack(one, tmp_path / "1.out") == tars.repack(two, tmp_path / "2.out")
    with tarfile.open(tmp_path / "1.out") as archive:
        # The hard link comes after what it links to.
        assert archive.getnames() == ["opt", "opt/b", "opt/z", "opt/a"]


def test_compressing_writes_no_name_and_no_time(tmp_path: Path) -> None:
    for name in ("one.tar", "another.tar"):
        (tmp_path / name).write_bytes(b"content" * 1000)
    one = tars.compress(tmp_path / "one.tar", tmp_path / "one.gz")
    another = tars.compress(tmp_path / "another.tar", tmp_path / "another.gz")
    assert (one.digest, one.diff_id) == (another.digest, another.diff_id)
    assert one.size == (tmp_path / "one.gz").stat().st_size
    assert gzip.decompress(one.path.read_bytes()) == b"content" * 1000


def test_a_layer_is_compressed_once_and_found_by_what_it_holds(tmp_path: Path) -> None:
    plain = tmp_path / "layer.tar"
    plain.write_bytes(b"layer")
    cache = tmp_path / "cache"
    cache.mkdir()
    made = layers.keep(cache, plain, "sha256:aa")
    plain.unlink()
    assert layers.keep(cache, plain, "sha256:aa") == made
    assert layers.find(cache, "sha256:bb") is None
    layers.note_rewritten(cache, "sha256:cc", "sha256:aa")
    assert layers.find_rewritten(cache, "sha256:cc") == made


def test_a_layer_whose_file_is_gone_is_not_found(tmp_path: Path) -> None:
    plain = tmp_path / "layer.tar"
    plain.write_bytes(b"layer")
    layers.keep(tmp_path, plain, "sha256:aa").path.unlink()
    layers.note_rewritten(tmp_path, "sha256:cc", "sha256:aa")
    assert layers.find_rewritten(tmp_path, "sha256:cc") is None


def test_layers_nobody_asked_for_in_a_month_are_removed(tmp_path: Path) -> None:
    plain = tmp_path / "layer.tar"
    plain.write_bytes(b"layer")
    for diff_id in ("sha256:aa", "sha256:bb"):
        layers.keep(tmp_path, plain, diff_id)
        layers.note_rewritten(tmp_path, f"{diff_id}00", diff_id)
    long_ago = time.time() - (layers.UNUSED_DAYS + 1) * 86400
    os.utime(tmp_path / "aa.json", (long_ago, long_ago))
    layers.forget_old(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bb.json", "bb.tar.gz", "bb00.rewritten", "layer.tar"]
