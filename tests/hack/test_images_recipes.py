"""What decides an image's bytes, and how the tools are called."""

import fcntl
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgesmith_builder.contract import TOOLCHAINS
from edgesmith_builder.oci import Descriptor, Manifest, Reference
from edgesmith_builder.pack import Base
from edgesmith_images import buildah, cli, debian, paths, recipes
from edgesmith_images.base import RUN
from edgesmith_images.console import ImageError
from edgesmith_images.lock import locked
from edgesmith_runtime.engine import ENGINES

REPOSITORY = Path(__file__).parents[2]
NAMES = (
    *("runtime-onnxruntime", "runtime-openvino", "runtime-litert", "runtime-qnn", "operator", "builder"),
    "builder-qnn",
)


def _recipe(root: Path) -> recipes.Recipe:
    (root / "app").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM x\n")
    (root / "app/main.py").write_text("1\n")
    return recipes.Recipe(name="x", dockerfile="Dockerfile", files=("app",), platforms=("linux/amd64",))


def test_bytecode_and_times_do_not_count_and_contents_do(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "repo")
    first = recipe.snapshot(tmp_path / "1", tmp_path / "repo")
    (tmp_path / "repo/app/__pycache__").mkdir()
    (tmp_path / "repo/app/__pycache__/main.cpython-311.pyc").write_text("x")
    (tmp_path / "repo/app/main.py").touch()
    assert recipe.snapshot(tmp_path / "2", tmp_path / "repo") == first
    (tmp_path / "repo/app/main.py").write_text("2\n")
    assert recipe.snapshot(tmp_path / "3", tmp_path / "repo") != first
    assert (tmp_path / "1/app/main.py").read_text() == "1\n"


def test_a_renamed_file_is_another_image(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "repo")
    first = recipe.snapshot(tmp_path / "1", tmp_path / "repo")
    (tmp_path / "repo/app/main.py").rename(tmp_path / "repo/app/other.py")
    assert recipe.snapshot(tmp_path / "2", tmp_path / "repo") != first


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "repo")
    (tmp_path / "repo/app/main.py").unlink()
    (tmp_path / "repo/app").rmdir()
    with pytest.raises(ImageError, match="The image x is made from app, which does not exist"):
        recipe.sources(tmp_path / "repo")


def test_the_key_knows_sources_bases_and_platforms() -> None:
    base = recipes.key("a", ["b"], ["linux/amd64"])
    others = [
        recipes.key("x", ["b"], ["linux/amd64"]),
        recipes.key("a", ["x"], ["linux/amd64"]),
        recipes.key("a", ["b"], ["linux/amd64", "linux/arm64"]),
    ]
    assert base == recipes.key("a", ["b"], ["linux/amd64"])
    assert len({base, *others}) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_dockerfile_copies_what_its_recipe_lists_and_docker_is_shown_the_same(name: str) -> None:
    recipe = recipes.recipes()[name]
    dockerfile = (REPOSITORY / recipe.dockerfile).read_text()
    copied = {
        word for line in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, flags=re.MULTILINE) for word in line.split()
    }
    named = {word.replace("${ENGINE}", recipe.engine).replace("${FLAVOUR}", recipe.flavour) for word in copied}
    assert named == set(recipe.files)
    shown = (REPOSITORY / f"{recipe.dockerfile}.dockerignore").read_text().splitlines()
    others = (
        {f"requirements/{engine}.txt" for engine in (*recipes.ENGINES, *recipes.VENDORS)} if recipe.engine else set()
    )
    if recipe.dockerfile == "builder/Dockerfile":
        others = {one.requirements for one in recipes.recipes().values() if one.dockerfile == recipe.dockerfile}
    assert {line.removeprefix("!") for line in shown if line.startswith("!")} == set(recipe.files) | others
    assert shown[0] == "*"
    assert shown[-1] == "**/__pycache__"


@pytest.mark.parametrize("name", [*NAMES, "triton"])
def test_nothing_of_the_target_is_run_and_the_user_is_not_root(name: str) -> None:
    dockerfile = (REPOSITORY / recipes.recipes()[name].dockerfile).read_text()
    _, site, final = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)
    assert site.startswith("--platform=$BUILDPLATFORM ")
    assert not re.search(r"^RUN ", final, flags=re.MULTILINE)
    assert "\nUSER 65532:65532\n" in final
    assert final.index("/opt/edgesmith/site\n") < final.index("/opt/edgesmith/app\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_that_an_image_says_it_holds_is_the_one_that_is_installed(name: str) -> None:
    recipe = recipes.recipes()[name]
    assert [path for path in recipe.files if path.startswith("requirements/")] == [recipe.requirements]


@pytest.mark.parametrize("engine", recipes.ENGINES)
def test_every_engine_has_a_runtime_for_both_platforms(engine: str) -> None:
    recipe = recipes.recipes()[f"runtime-{engine}"]
    assert recipe.platforms == ("linux/amd64", "linux/arm64")
    assert (recipe.engine, recipe.dockerfile) == (engine, "runtime/Dockerfile")


def test_the_images_are_of_the_engines_that_the_server_has() -> None:
    images = {facts.flavour for facts in TOOLCHAINS.values()}
    assert sorted((*recipes.ENGINES, *recipes.VENDORS)) == sorted(images)
    assert images <= set(ENGINES)
    assert {facts.builder for facts in TOOLCHAINS.values()} - {None} == set(recipes.VENDORS)


@pytest.mark.parametrize("name", recipes.VENDORS)
def test_images_with_a_vendors_packages_are_for_one_platform_and_made_only_when_asked_for(name: str) -> None:
    runtime, builder = recipes.recipes()[f"runtime-{name}"], recipes.recipes()[f"builder-{name}"]
    assert (runtime.platforms, runtime.asked) == (("linux/arm64",), True)
    assert (builder.platforms, builder.asked) == (("linux/amd64",), True)
    assert {*RUN.packages} < {*runtime.base.packages} == {*builder.base.packages}


def test_images_with_qnn_have_the_library_that_its_wheel_lacks() -> None:
    made = recipes.recipes()
    assert all("libatomic1" in made[name].base.packages for name in ("runtime-qnn", "builder-qnn"))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "litert", "qnn", "builder", "builder-qnn"])
def test_an_image_holds_its_engines_only(name: str) -> None:
    """QNN is a provider of ONNX Runtime's; the builder has every engine but a vendor's."""
    packages = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
    packages["qnn"] = "onnxruntime-qnn"
    common = {"onnxruntime", "openvino", "litert"}
    held = {"qnn": {"onnxruntime", "qnn"}, "builder": common, "builder-qnn": common | {"qnn"}}.get(name, {name})
    locked = re.findall(r"^(\S+)==", (REPOSITORY / f"requirements/{name}.txt").read_text(), flags=re.MULTILINE)
    assert set(packages.values()) & set(locked) == {packages[engine] for engine in held}


def test_a_machine_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ImageError, match="This machine is riscv64"):
        recipes.own_platform()


def test_the_hosts_certificates_and_index_reach_pip(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("x")
    arguments = buildah.authority_arguments(
        {"SSL_CERT_FILE": str(bundle), "PIP_INDEX_URL": "https://index.example/simple"}
    )
    assert arguments == [
        "--build-arg=PIP_INDEX_URL=https://index.example/simple",
        f"--volume={bundle}:/etc/ssl/certs/ca-certificates.crt:ro",
        "--build-arg=PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
    ]
    assert buildah.authority_arguments({"PIP_CERT": str(tmp_path / "missing")}) == []
    assert buildah.authority_arguments({}) == []


def test_a_missing_package_is_named_to_who_may_not_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "missing", lambda packages: list(packages[:1]))
    with pytest.raises(ImageError, match="run `sudo apt-get install --yes --no-install-recommends buildah`"):
        debian.ensure(debian.BUILD)


def test_the_lock_keeps_a_second_writer_out_and_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path), path.open("a") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_a_person_can_fix_is_one_sentence_and_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "x").touch()
    monkeypatch.setenv("EDGESMITH_CACHE", str(tmp_path / "cache"))
    assert cli.main(["extract", "runtime-litert", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"hack/images: {tmp_path} is not empty")


def test_the_version_is_the_projects() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", paths.project_version())


def test_it_starts_without_the_project_s_environment(tmp_path: Path) -> None:
    """A Python that has none of the packages makes the environment, and goes on in it with the same words."""
    (tmp_path / "hack").mkdir()
    shutil.copytree(paths.REPOSITORY / "hack/images", tmp_path / "hack/images")
    (tmp_path / "Makefile").write_text(
        '.venv/.ready:\n\t@echo "installing"; mkdir -p .venv/bin; cp python .venv/bin; touch $@\n'
    )
    (tmp_path / "python").write_text('#!/bin/sh\necho "went on with: $@"\n')
    (tmp_path / "python").chmod(0o755)
    line = [sys.executable, "-I", "-S", "hack/images", "push", "hub:5000"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "went on with: -I -S hack/images push hub:5000\n"), done.stderr
    assert "installing" in done.stderr


def test_an_environment_that_cannot_be_made_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "hack").mkdir()
    shutil.copytree(paths.REPOSITORY / "hack/images", tmp_path / "hack/images")
    (tmp_path / "Makefile").write_text(".venv/.ready:\n\t@exit 1\n")
    line = [sys.executable, "-I", "-S", "hack/images", "size"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the project's environment could not be made" in done.stderr


def test_what_is_a_vendors_is_built_only_when_it_is_asked_for() -> None:
    known = recipes.recipes()
    assert [name for name, recipe in known.items() if recipe.asked] == ["runtime-qnn", "builder-qnn", "triton"]
    assert known["triton"].stand_in in known["triton"].sources()


def test_the_image_with_triton_says_what_serves_in_it() -> None:
    """The builder looks for it, to put a model repository into images over them."""
    dockerfile = (REPOSITORY / "runtime/triton.Dockerfile").read_text()
    base = Base(Reference.parse("r/b@sha256:" + "0" * 64), Manifest(Descriptor("x", "sha256:0", 1), ()), {})
    (label,) = re.findall(r"^LABEL (\S+)=(\S+)$", dockerfile, re.MULTILINE)
    assert replace(base, config={"config": {"Labels": dict([label])}}).server == "Triton"
    assert base.server == "Edgesmith"
    assert replace(base, config={"config": {"Labels": None}}).server == "Edgesmith"
