"""Image layouts: written, read, measured and unpacked."""

import io
import tarfile
from pathlib import Path

import pytest

from edgesmith_builder.pack import PACKAGES_LABEL
from edgesmith_images import emulate, size, tars
from edgesmith_images.build import config_of, packages_of
from edgesmith_images.console import ImageError
from edgesmith_images.extract import apply_layer, extract
from edgesmith_images.layout import Layout

Entry = tuple[str, bytes, str]


def _tar(path: Path, entries: list[Entry]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, kind, content in entries:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content
            archive.addfile(member, io.BytesIO(content.encode()) if kind == tarfile.REGTYPE else None)
    return path


def _layout(folder: Path, stack: list[list[Entry]], architectures: tuple[str, ...] = ("amd64", "arm64")) -> Layout:
    folder.mkdir(parents=True)
    layout = Layout.create(folder / "layout")
    layers = []
    for number, entries in enumerate(stack):
        plain = _tar(folder / f"{number}.tar", entries)
        layers.append(tars.compress(plain, folder / f"{number}.tar.gz"))
    manifests = []
    for architecture in architectures:
        found = {
            "config": {
                "Entrypoint": ["/usr/bin/python3.11", "-m", "x"],
                "Cmd": ["serve"],
                "Env": ["A=b"],
                "Labels": {"t": "1"},
            },
            "history": [{"created_by": "base"}, {"created_by": "ENV A=b", "empty_layer": True}],
        }
        manifests.append(layout.add_image(config_of(found, architecture), layers))
    layout.finish(layout.add_index(manifests), "latest")
    return layout


ONE: list[Entry] = [("etc", tarfile.DIRTYPE, ""), ("etc/a", tarfile.REGTYPE, "a")]


def test_the_same_image_has_the_same_digest(tmp_path: Path) -> None:
    assert _layout(tmp_path / "1", [ONE]).root() == _layout(tmp_path / "2", [ONE]).root()


def test_an_index_names_each_platform_and_the_arm_variant(tmp_path: Path) -> None:
    layout = _layout(tmp_path / "x", [ONE])
    platforms = [entry["platform"] for entry in layout.read(layout.root()["digest"])["manifests"]]
    assert platforms == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    assert list(layout.manifests()) == ["linux/amd64", "linux/arm64"]


def test_a_blob_that_was_changed_is_noticed(tmp_path: Path) -> None:
    layout = _layout(tmp_path / "x", [ONE])
    layout.blob(layout.root()["digest"]).write_text("{}")
    with pytest.raises(ImageError, match="does not match its name"):
        layout.manifests()


def test_a_config_keeps_what_runs_and_drops_what_the_tool_says_of_itself() -> None:
    copied = f"/bin/sh -c #(nop) COPY dir:{'a' * 64} in /opt/app "
    found = {
        "config": {"User": "65532:65532", "Labels": {"io.buildah.version": "1.28.2"}, "Env": ["A=b"]},
        "history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": copied, "comment": "FROM localhost/base:run"},
            {"created_by": "/bin/sh -c #(nop) USER 65532:65532", "empty_layer": True},
        ],
    }
    assert config_of(found, "arm64") == {
        "architecture": "arm64",
        "config": {"User": "65532:65532", "Env": ["A=b"]},
        "history": [
            {"created": "1970-01-01T00:00:00Z", "created_by": "COPY /opt/app"},
            {"created": "1970-01-01T00:00:00Z", "created_by": "USER 65532:65532", "empty_layer": True},
        ],
    }


def test_an_image_says_which_packages_are_in_it() -> None:
    lines = ["numpy==2.4.6 \\", "    --hash=sha256:00", "pycparser==3.12 ; python_version > '3' \\", "abc==1", ""]
    lock = "\n".join(lines)
    assert packages_of(lock) == "abc==1 numpy==2.4.6 pycparser==3.12"
    config = config_of({"config": {"Labels": {"io.buildah.version": "1"}}}, "arm64", packages_of(lock))["config"]
    assert config == {"Labels": {PACKAGES_LABEL: "abc==1 numpy==2.4.6 pycparser==3.12"}}


def test_labels_of_ours_stay_and_others_are_about_how_it_was_built() -> None:
    found = {"config": {"Labels": {"io.buildah.version": "1", "dev.edgesmith.server": "Triton"}}}
    assert config_of(found, "arm64")["config"] == {"Labels": {"dev.edgesmith.server": "Triton"}}


def test_sizes_are_told_by_layer_and_in_total(tmp_path: Path) -> None:
    layout = _layout(tmp_path / "x", [ONE, [("b", tarfile.REGTYPE, "b")]], ("amd64",))
    sizes = [layer["size"] for layer in layout.manifests()["linux/amd64"]["layers"]]
    assert size.rows({"runtime": layout}) == [
        ("runtime", "linux/amd64", "base", sizes[0]),
        ("runtime", "linux/amd64", "", sizes[1]),
        ("runtime", "linux/amd64", "total", sum(sizes)),
    ]
    assert size.totals({"runtime": layout}) == {"runtime": {"linux/amd64": sum(sizes)}}
    assert "total" in size.table({"runtime": layout})


def test_unpacking_applies_layers_from_the_bottom_up_with_their_whiteouts(tmp_path: Path) -> None:
    layout = _layout(
        tmp_path / "x",
        [
            [
                *ONE,
                ("etc/b", tarfile.REGTYPE, "b"),
                ("opt", tarfile.DIRTYPE, ""),
                ("opt/old", tarfile.REGTYPE, "old"),
                ("lib", tarfile.SYMTYPE, "/usr/lib"),
            ],
            [
                ("etc/.wh.a", tarfile.REGTYPE, ""),
                ("opt/.wh..wh..opq", tarfile.REGTYPE, ""),
                ("opt/new", tarfile.REGTYPE, "new"),
                ("etc/b", tarfile.REGTYPE, "B"),
                ("etc/c", tarfile.LNKTYPE, "etc/b"),
            ],
        ],
    )
    extract(layout, "linux/arm64", tmp_path / "root")
    found = {
        path.relative_to(tmp_path / "root").as_posix(): path.read_text()
        for path in (tmp_path / "root").rglob("*")
        if path.is_file()
    }
    assert found == {"etc/b": "B", "etc/c": "B", "opt/new": "new"}
    assert (tmp_path / "root/lib").readlink() == Path("/usr/lib")


def test_unpacking_names_the_platforms_there_are(tmp_path: Path) -> None:
    layout = _layout(tmp_path / "x", [ONE], ("amd64",))
    with pytest.raises(ImageError, match="built for linux/amd64, not for linux/arm64"):
        extract(layout, "linux/arm64", tmp_path / "root")


def test_unpacking_spares_a_folder_that_holds_something(tmp_path: Path) -> None:
    layout = _layout(tmp_path / "x", [ONE])
    with pytest.raises(ImageError, match="is not empty"):
        extract(layout, "linux/amd64", tmp_path / "x")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("../out", tarfile.REGTYPE, "x")], "climbs out"),
        ([("a/../../out", tarfile.REGTYPE, "x")], "climbs out"),
        ([("up", tarfile.SYMTYPE, "../.."), ("up/out", tarfile.REGTYPE, "x")], "leads out"),
        ([("abs", tarfile.SYMTYPE, "/etc"), ("abs/out-of-the-root", tarfile.REGTYPE, "x")], "leads out"),
        ([("up", tarfile.SYMTYPE, "../.."), ("up/.wh.out", tarfile.REGTYPE, "")], "leads out"),
        ([("hard", tarfile.LNKTYPE, "../out")], "climbs out"),
        ([("null", tarfile.CHRTYPE, "")], "neither a file nor a folder nor a link"),
    ],
)
def test_a_layer_cannot_write_outside_the_root(tmp_path: Path, entries: list[Entry], why: str) -> None:
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    (tmp_path / "out").write_text("untouched")
    with pytest.raises(ImageError, match=why):
        apply_layer(_tar(tmp_path / "x.tar", entries), root.resolve())
    assert (tmp_path / "out").read_text() == "untouched"


def test_an_absolute_name_lands_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    apply_layer(_tar(tmp_path / "x.tar", [("/etc/passwd", tarfile.REGTYPE, "mine")]), root.resolve())
    assert (root / "etc/passwd").read_text() == "mine"


def test_a_program_is_emulated_with_the_images_own_environment(tmp_path: Path) -> None:
    layout = _layout(tmp_path / "x", [ONE])
    root = tmp_path / "root"
    command = emulate.image_command(layout, root, [])
    assert command[:5] == ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", str(root)]
    assert command[5:] == ["-E", "A=b", f"{root}/usr/bin/python3.11", "-m", "x", "serve"]
    assert emulate.image_command(layout, root, ["selftest"])[-1] == "selftest"


def test_an_image_without_an_entry_point_is_not_emulated(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no entry point"):
        emulate.command(tmp_path, {}, [])


def test_an_emulated_program_sees_the_processor_that_is_emulated(tmp_path: Path) -> None:
    emulate.describe_processor(tmp_path)
    assert (tmp_path / "proc/cpuinfo").read_text().count("CPU part\t: 0xd08") == emulate.CORES
    assert (tmp_path / "sys/devices/system/cpu/possible").read_text() == "0-1\n"
