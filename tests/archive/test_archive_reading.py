"""An archive is not trusted: whatever is wrong with it is one sentence, and nothing of it is used."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import (
    CONFIGURED,
    CONTENT,
    IMAGE,
    IMAGE_FILE,
    LAYER_FILE,
    ArchiveError,
    archive_of,
    as_tar,
    entries_of,
    info,
)

from edgesmith.archive.artifacts import manifests_in
from edgesmith.archive.opened import Archive
from edgesmith.archive.roots import PATH, ROLE, TAG
from edgesmith_builder.oci import Descriptor
from edgesmith_builder.oci.content import INDEX, MANIFEST, canonical, digest_of

Entries = list[tuple[tarfile.TarInfo, bytes]]


def content(path: Path) -> bytes:
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def opened(folder: Path, data: bytes) -> Archive:
    """What is made of some bytes, every digest checked."""
    (folder / "found.tar").write_bytes(data)
    archive = Archive.open(folder / "found.tar")
    archive.check()
    return archive


async def test_what_was_written_is_read_and_is_the_same_each_time(tmp_path: Path) -> None:
    data = await archive_of(tmp_path)
    assert data == await archive_of(tmp_path)
    archive = opened(tmp_path, data)
    assert [(root.role, root.path, root.tag) for root in archive.roots] == [
        ("manifests", "edgesmith/manifests", "latest"),
        ("model", "models/plant/models", "key"),
    ]
    assert manifests_in(archive) == "kind: EdgeModel\nspec:\n  a: ä\n  b: 1\n"
    assert names(tmp_path) == {"good.tar", "found.tar"}


async def test_other_programs_read_it_as_an_image_layout(tmp_path: Path) -> None:
    entries = {one.name: (one, content) for one, content in entries_of(await archive_of(tmp_path))}
    assert json.loads(entries["oci-layout"][1]) == {"imageLayoutVersion": "1.0.0"}
    for name, (header, content) in entries.items():
        assert (header.mtime, header.uid, header.gid, header.uname, header.mode) == (0, 0, 0, "", 0o644)
        assert not name.startswith("blobs/") or digest_of(content)[7:] == name.rpartition("/")[2]
    (manifests, model) = json.loads(entries["index.json"][1])["manifests"]
    assert (model["digest"], model["annotations"][TAG]) == (digest_of(IMAGE), "key")
    assert manifests["annotations"] == {PATH: "edgesmith/manifests", ROLE: "manifests", TAG: "latest"}


async def test_folders_of_a_layout_may_be_listed(tmp_path: Path) -> None:
    folders = [(info(name, type=tarfile.DIRTYPE), b"") for name in ("blobs/", "blobs/sha256/")]
    assert opened(tmp_path, as_tar([*folders, *entries_of(await archive_of(tmp_path))])).roots


def changed(name: str, content: Callable[[bytes], bytes]) -> Callable[[Entries], Entries]:
    """The same entries with another content of one."""
    return lambda entries: [
        (info(one.name, len(made := content(was))), made) if one.name == name else (one, was) for one, was in entries
    ]


def one_bit(was: bytes) -> bytes:
    return bytes([was[0] ^ 1]) + was[1:]


def with_root(**more: Any) -> Callable[[bytes], bytes]:
    """`index.json` whose last entry has other fields or annotations."""

    def change(was: bytes) -> bytes:
        index = json.loads(was)
        notes = {key: value for key, value in more.items() if key in ("path", "role", "tag")}
        keys = {"path": PATH, "role": ROLE, "tag": TAG}
        index["manifests"][-1]["annotations"] |= {keys[key]: value for key, value in notes.items()}
        index["manifests"][-1] |= {key: value for key, value in more.items() if key not in notes}
        return canonical(index)

    return change


def image(**more: Any) -> Callable[[Entries], Entries]:
    """Entries whose image has another manifest, with the right digest everywhere."""
    raw = canonical(json.loads(IMAGE) | more)

    def change(entries: Entries) -> Entries:
        named = changed("index.json", with_root(**Descriptor.of(raw, MANIFEST).to_json()))(entries)
        kept = [(one, content) for one, content in named if one.name != IMAGE_FILE]
        return [*kept, (info(f"blobs/sha256/{digest_of(raw)[7:]}", len(raw)), raw)]

    return change


def plus(name: str, content: bytes = b"", **more: Any) -> Callable[[Entries], Entries]:
    """The same entries and one more."""
    return lambda entries: [*entries, (info(name, more.pop("size", len(content)), **more), content)]


HUGE = {**CONTENT.descriptor.to_json(), "size": 10**15}
STRANGE: dict[str, tuple[Callable[[Entries], Entries], str]] = {
    "one bit of a layer": (changed(LAYER_FILE, one_bit), "its name is another"),
    "one bit of a manifest": (changed(IMAGE_FILE, one_bit), "its name is another"),
    "a missing layer": (lambda entries: [e for e in entries if e[0].name != LAYER_FILE], f"has no {LAYER_FILE}"),
    "a missing manifest": (lambda entries: [e for e in entries if e[0].name != IMAGE_FILE], f"has no {IMAGE_FILE}"),
    "no index": (lambda entries: [e for e in entries if e[0].name != "index.json"], "has no index.json"),
    "no layout": (lambda entries: entries[1:], "has no oci-layout"),
    "another layout": (changed("oci-layout", lambda _: b'{"imageLayoutVersion": "2"}'), "oci-layout is not"),
    "a way out": (plus("../../etc/passwd", b"x"), "'../../etc/passwd', which is no file of"),
    "an absolute path": (plus("/etc/passwd", b"x"), "'/etc/passwd', which is no file of"),
    "a way out within blobs": (plus("blobs/sha256/../x", b"x"), "which is no file of"),
    "another file": (plus("manifest.json", b"{}"), "'manifest.json', which is no file of"),
    "a symbolic link": (plus("index.json", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a plain file was expected"),
    "a hard link": (plus(LAYER_FILE, type=tarfile.LNKTYPE, linkname="oci-layout"), "a plain file was expected"),
    "a device": (plus("index.json", type=tarfile.CHRTYPE), "a plain file was expected"),
    "a folder elsewhere": (plus("etc/", type=tarfile.DIRTYPE), "a plain file was expected"),
    "a long name": (plus("././@LongLink", bytes(600), type=tarfile.GNUTYPE_LONGNAME), "a plain file was expected"),
    "an extended header": (plus("x", b"30 path=../../x\n", type=tarfile.XHDTYPE), "a plain file was expected"),
    "a blob twice": (lambda entries: [*entries, entries[-1]], "twice"),
    "a blob that nothing names": (plus(f"blobs/sha256/{'a' * 64}", b"x"), "which nothing in it names"),
    "a huge size": (plus(f"blobs/sha256/{'a' * 64}", size=7 * 1024**3), f"said to have {7 * 1024**3} bytes"),
    "a layer that is said to be larger": (image(layers=[HUGE]), f"a manifest in the archive says {10**15}"),
    "a layer that lies elsewhere": (
        image(layers=[{**CONTENT.descriptor.to_json(), "urls": ["https://evil.example/"]}]),
        "lies at addresses of its own",
    ),
    "a layer with a digest that is a path": (
        image(layers=[{**CONTENT.descriptor.to_json(), "digest": "sha256:../../x"}]),
        "is no digest",
    ),
    "a manifest that says that it is another thing": (image(mediaType="text/html"), "says of itself"),
    "a manifest without layers": (image(layers=None), "malformed manifest"),
    "a media type that is not known": (
        changed("index.json", with_root(mediaType="application/vnd.example")),
        "which is not known",
    ),
    "an image that hangs on another": (image(subject=Descriptor.of(IMAGE, MANIFEST).to_json()), "hangs on"),
    "a signature that hangs on nothing": (changed("index.json", with_root(role="referrer")), "hangs on nothing"),
    "a role that is not known": (changed("index.json", with_root(role="virus")), "one of runtime"),
    "a repository that leads out": (changed("index.json", with_root(path="../other")), "is no repository"),
    "a tag that is none": (changed("index.json", with_root(tag="a/b")), "which is none"),
    "an index that is no JSON": (changed("index.json", lambda _: b"{"), "index.json is not that of"),
    "an index of great depth": (changed("index.json", lambda _: b"[" * 100_000), "index.json is not that of"),
    "an index that is too large": (changed("index.json", lambda was: was + b" " * 5 * 1024**2), "at most 4194304"),
}


@pytest.mark.parametrize(("change", "words"), STRANGE.values(), ids=STRANGE)
async def test_what_is_wrong_with_an_archive_is_one_sentence(
    tmp_path: Path, change: Callable[[Entries], Entries], words: str
) -> None:
    entries = entries_of(await archive_of(tmp_path))
    with pytest.raises(ArchiveError, match=re.escape(words)):
        opened(tmp_path, as_tar(change(entries)))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
async def test_an_archive_that_was_cut_is_refused(tmp_path: Path, part: float) -> None:
    data = await archive_of(tmp_path)
    with pytest.raises(ArchiveError):
        opened(tmp_path, data[: int(len(data) * part)])


async def test_no_byte_of_an_archive_can_be_another_unnoticed(tmp_path: Path) -> None:
    """Of each header and each content; what pads them to whole blocks says nothing."""
    good = await archive_of(tmp_path)
    before = opened(tmp_path, good)
    at = 0
    for one, content in entries_of(good):
        for place in (at + 1, at + 130, at + 512 + len(content) // 2):
            bad = bytearray(good)
            bad[place] ^= 0x11
            with pytest.raises(ArchiveError):
                opened(tmp_path, bytes(bad))
        at += 512 + len(content) + -len(content) % 512
        assert one.name in {"oci-layout", "index.json"} or before.documents


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no tar header at byte 0"):
        opened(tmp_path, b"#!/bin/sh\n" * 200)


async def test_manifests_of_another_kind_are_not_written_out(tmp_path: Path) -> None:
    entries = changed("index.json", with_root(role="manifests"))(entries_of(await archive_of(tmp_path)))
    archive = opened(tmp_path, as_tar(entries))
    wrong = Archive(archive.path, archive.roots[1:], archive.documents, archive.blobs)
    with pytest.raises(ArchiveError, match="was expected"):
        manifests_in(wrong)


async def test_an_index_in_the_place_of_manifests_is_refused(tmp_path: Path) -> None:
    entries = entries_of(await archive_of(tmp_path))
    raw = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    named = changed("index.json", with_root(role="manifests", **Descriptor.of(raw, INDEX).to_json()))(entries)
    image = {IMAGE_FILE, LAYER_FILE, f"blobs/sha256/{CONFIGURED.descriptor.digest[7:]}"}
    kept = [one for one in named if one[0].name not in image]
    archive = opened(tmp_path, as_tar([*kept, (info(f"blobs/sha256/{digest_of(raw)[7:]}", len(raw)), raw)]))
    wrong = Archive(archive.path, archive.roots[1:], archive.documents, archive.blobs)
    with pytest.raises(ArchiveError, match="is an index; a manifest with one"):
        manifests_in(wrong)
