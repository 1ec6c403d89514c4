"""Zips whose tables of contents list more than there is memory for: refused before they are taken apart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesmith_builder import zips
from edgesmith_builder.dataset import holds_pictures, read_npz, read_pictures
from edgesmith_builder.errors import DatasetInvalid, ModelInvalid
from edgesmith_builder.format.scikit.archive import SCHEMA, check_archive


def packed(*names: str, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def pictures(path: Path) -> None:
    read_pictures(path, field="spec.evaluation")


def arrays(path: Path) -> None:
    read_npz(path, field="spec.evaluation", folder=path.parent)


def estimator(path: Path) -> None:
    check_archive(path, "spec.source", 10**6)


FOLDERS = [f"{number}/" for number in range(9)]


@pytest.mark.parametrize("read", [pictures, arrays, estimator])
def test_more_folders_than_are_listed_are_not_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(packed("a.png", *FOLDERS))
    monkeypatch.setattr(zips, "LISTED", 9)
    words = r"its table of contents lists 10 files; at most 9 were expected"
    with pytest.raises((DatasetInvalid, ModelInvalid), match=words):
        read(path)
    assert not holds_pictures(path)
    monkeypatch.setattr(zips, "LISTED", 10)
    assert holds_pictures(path)


def test_a_table_of_long_names_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(packed("n" * 5000 + ".png"))
    monkeypatch.setattr(zips, "_TABLE", 5000)
    with pytest.raises(DatasetInvalid, match=r"its table of contents has 5050 bytes; at most 5000 were expected"):
        pictures(path)


def test_files_are_not_bounded_by_the_table_nor_by_what_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(packed("a", content=b"PK\x01\x02" * 5000))
    monkeypatch.setattr(zips, "LISTED", 1)
    monkeypatch.setattr(zips, "_TABLE", 5000)
    with zips.opened_zip(path) as archive:
        assert len(archive.read("a")) == 20_000


def test_a_zip_inside_an_estimator_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(SCHEMA, "{}")
        archive.writestr("a.npz", packed(*FOLDERS))
    monkeypatch.setattr(zips, "LISTED", 8)
    with pytest.raises(
        ModelInvalid, match=r"^spec\.source is a broken zip \(its table .* lists 9 files; at most 8 were"
    ):
        estimator(path)


def test_a_name_that_is_marked_as_utf_8_and_is_none_is_the_user_s_to_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(packed("é").replace("é".encode(), b"\xff\xff"))
    with pytest.raises(ModelInvalid, match=r"^spec\.source is a broken zip \('utf-8' codec can't decode"):
        estimator(path)
    with pytest.raises(DatasetInvalid, match=r"^spec\.evaluation cannot be unpacked \(UnicodeDecodeError"):
        arrays(path)
