"""What hangs on every image: a bill of materials, provenance and, with a key, signatures that cosign accepts."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from attached import BILL, STATEMENT, Object, hanging
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from services import tool

from edgesmith.cluster.images import Images
from edgesmith.cluster.provenance import Wanted
from edgesmith.decide.snapshot import Image, RegistryProblem, StrangeImage, UnsignedImage
from edgesmith_builder.build import Built, build
from edgesmith_builder.contract import TOOLS, BuildRequest, Toolchain
from edgesmith_builder.maker import Maker
from edgesmith_builder.oci import Backoff, BytesBlob, Descriptor, Manifest, Reference, Referrer, Registry
from edgesmith_builder.oci.content import CONFIG, MANIFEST, canonical
from edgesmith_builder.pack import PACKAGES_LABEL
from edgesmith_builder.push import Registries
from edgesmith_builder.signatures import BUNDLE, SIGNED, Statement, look_for
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.signatures.public import PublicKey
from edgesmith_builder.source import Bucket, Sources

pytestmark = pytest.mark.usefixtures("patient_lookups")

PATIENCE = Backoff(attempts=3, first=0.01, limit=0.05)
PASSWORD = "right-password"  # noqa: S105 - of a key that ends with the test
BUILDER_IMAGE = f"registry.example/edgesmith/builder@sha256:{'b' * 64}"


@dataclass(frozen=True)
class Pair:
    """A pair of keys as cosign makes one."""

    private: Path
    public: Path

    @property
    def public_text(self) -> str:
        return self.public.read_text()

    def key(self) -> PrivateKey:
        return PrivateKey.from_pem(self.private.read_text(), PASSWORD)


def cosign(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run cosign with nothing of the user's, and no way to a transparency log."""
    environment = {"HOME": str(folder), "COSIGN_PASSWORD": PASSWORD, "PATH": os.environ["PATH"]}
    return subprocess.run(
        [str(tool("cosign")), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return another(tmp_path_factory.mktemp("keys"))


def another(folder: Path) -> Pair:
    made = cosign("generate-key-pair", folder=folder)
    assert made.returncode == 0, made.stderr
    return Pair(folder / "cosign.key", folder / "cosign.pub")


async def make(world: Any, request: BuildRequest, maker: Maker | None = None) -> Built:
    built: Built = await world.build(request, maker=maker)
    return built


def verify(image: str, key: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = words or ("verify",)
    return cosign(*command, "--key", str(key), "--insecure-ignore-tlog", "--allow-http-registry", image, folder=folder)


async def test_every_image_carries_a_bill_of_materials_that_the_schema_accepts(world: Any) -> None:
    built = await make(world, world.request())
    (_, bill) = (await hanging(built.image))[BILL, ""]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    root = bill["metadata"]["component"]
    assert root["hashes"] == [{"alg": "SHA-256", "content": built.image.rpartition(":")[2]}]
    by_type: dict[str, list[Object]] = {}
    for component in bill["components"]:
        by_type.setdefault(component["type"], []).append(component)
    (model,), (base,) = by_type["machine-learning-model"], by_type["container"]
    source = model["pedigree"]["ancestors"][0]["externalReferences"][0]
    assert source["url"] == world.source
    assert source["hashes"][0]["content"] == world.digest(world.source)
    assert {one["data"][0]["contents"]["url"]: one["hashes"][0]["content"] for one in by_type["data"]} == {
        uri: world.digest(uri) for uri in (world.calibration, world.evaluation)
    }
    assert base["name"] == world.base.partition("@")[0]
    assert model["hashes"][0]["content"] not in {source["hashes"][0]["content"], root["hashes"][0]["content"]}
    assert {metric["type"] for metric in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]} == {
        "Accuracy",
        "Accuracy drop",
        "agreement",
    }


async def test_a_source_that_is_packed_as_it_is_has_the_models_digest(world: Any) -> None:
    built = await make(world, world.request(precisions=("fp32",)))
    (_, bill) = (await hanging(built.image))[BILL, ""]
    assert bill["components"][0]["hashes"][0]["content"] == world.digest(world.source)


async def test_every_image_carries_its_provenance(world: Any) -> None:
    request = world.request()
    built = await make(world, request, Maker(image=BUILDER_IMAGE))
    (_, made) = (await hanging(built.image))[STATEMENT, ""]
    assert (made["_type"], made["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert made["subject"] == [{"name": "model.onnx", "digest": {"sha256": built.image.rpartition(":")[2]}}]
    definition = made["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"build": json.loads(request.build.to_json())}
    digests = {one["name"]: one["digest"]["sha256"] for one in definition["resolvedDependencies"]}
    assert digests.pop("base") != world.base.rpartition(":")[2]  # the platform's image, not the index
    assert digests == {
        "source": world.digest(world.source),
        "calibration": world.digest(world.calibration),
        "evaluation": world.digest(world.evaluation),
    }
    builder = made["predicate"]["runDetails"]["builder"]
    assert builder["builderDependencies"][0]["digest"] == {"sha256": "b" * 64}


async def test_what_compiled_it_is_named_with_its_own_toolchain(world: Any) -> None:
    for name, versions in (("ONNXRuntime", {}), ("OpenVINO", {"openvino": TOOLS.openvino})):
        toolchain = Toolchain(name=name, precisions=("fp32",))
        hung = await hanging((await make(world, world.request(toolchain=toolchain))).image)
        expected = {
            "edgesmith_builder": TOOLS.builder,
            "onnx": TOOLS.onnx,
            "onnxruntime": TOOLS.onnxruntime,
            **versions,
        }
        tools = hung[BILL, ""][1]["metadata"]["tools"]["components"]
        assert {one["name"]: one["version"] for one in tools} == expected
        assert hung[STATEMENT, ""][1]["predicate"]["runDetails"]["builder"]["version"] == expected


async def test_the_packages_that_the_base_image_lists_are_in_the_bill(world: Any) -> None:
    base = await base_with(world, {PACKAGES_LABEL: "numpy==2.4.6 onnxruntime==1.32.0 <script> ml_dtypes==0.6.0"})
    (_, bill) = (await hanging((await make(world, world.request(base=base))).image))[BILL, ""]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    packages = [one["purl"] for one in bill["components"] if one["type"] == "library"]
    assert packages == ["pkg:pypi/ml-dtypes@0.6.0", "pkg:pypi/numpy@2.4.6", "pkg:pypi/onnxruntime@1.32.0"]
    assert {"ref": "runtime", "dependsOn": packages} in bill["dependencies"]


async def test_a_list_of_packages_without_end_is_cut(world: Any) -> None:
    base = await base_with(world, {PACKAGES_LABEL: " ".join(f"package{number}==1" for number in range(3000))})
    (_, bill) = (await hanging((await make(world, world.request(base=base))).image))[BILL, ""]
    assert len(json.dumps(bill)) < 200_000


async def test_the_same_build_hangs_the_same_on_its_image_and_nothing_twice(world: Any, pair: Pair) -> None:
    first, second = world.request(), world.request()
    maker = Maker(pair.key(), BUILDER_IMAGE)
    one, two = await make(world, first, maker), await make(world, second, maker)
    found = await hanging(one.image)
    assert len(found) == 5
    assert found == await hanging(two.image)
    async with Registry(plain_http=True) as client:
        key = Reference.parse(one.image)
        manifest = await client.manifest(key)
        assert manifest is not None
        raw = Descriptor.of(manifest.to_bytes(), MANIFEST)
        again = [Referrer(BILL, BytesBlob(canonical(found[BILL, ""][1]), BILL))]
        await client.attach(key.repository, raw, again)
    assert await hanging(one.image) == found


async def test_everything_hangs_on_the_image_before_its_tag_is_there(world: Any, pair: Pair) -> None:
    request = world.request(precisions=("fp32",))
    work = world.folder / "work"
    work.mkdir()
    sources = Sources({"s3": Bucket(world.store.settings, attempts=2, first_delay=0.01)})
    async with (
        httpx.AsyncHTTPTransport() as whole,
        Registry(plain_http=True, backoff=PATIENCE, transport=(seen := _Seen(whole))) as client,
    ):
        built = await build(request, sources, Registries(client, client), work, maker=Maker(pair.key()))
    image, *hung, index, tag, bundle = seen.put
    assert image == built.image.partition("@")[2]
    assert {name.partition(":")[0] for name in hung} == {"sha256"}
    assert len(hung) == 5
    assert (index, tag) == (image.replace(":", "-"), request.build.key)
    assert bundle == f"bundle-{request.build.bundle_key('Edgesmith')}"


async def test_cosign_accepts_the_signature_the_bill_and_the_provenance(world: Any, pair: Pair) -> None:
    built = await make(world, world.request(), Maker(pair.key()))
    seen = verify(built.image, pair.public, world.folder)
    assert seen.returncode == 0, seen.stderr
    (claim,) = [one for one in json.loads(seen.stdout) if one["critical"]["type"] == SIGNED]
    assert claim["critical"]["image"]["docker-manifest-digest"] == built.image.partition("@")[2]
    for kind, predicate in (
        ("cyclonedx", "https://cyclonedx.org/bom"),
        ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ):
        attested = verify(built.image, pair.public, world.folder, "verify-attestation", "--type", kind)
        assert attested.returncode == 0, attested.stderr
        statement = json.loads(base64.b64decode(json.loads(attested.stdout)["payload"]))
        assert statement["predicateType"] == predicate


async def test_cosign_accepts_an_image_that_was_put_over_another_base(world: Any, push_base: Any, pair: Pair) -> None:
    request, maker = world.request(), Maker(pair.key())
    before = await make(world, request, maker)
    base = await push_base(world.registry, layer_text="a newer layer of")
    newer = request.model_copy(update={"build": request.build.model_copy(update={"base": base})})
    after = await make(world, newer, maker)
    assert after.report.rebased_from == before.image.partition("@")[2]
    assert verify(after.image, pair.public, world.folder).returncode == 0
    words = ("verify-attestation", "--type", "slsaprovenance1")
    attested = verify(after.image, pair.public, world.folder, *words)
    assert attested.returncode == 0, attested.stderr
    statement = json.loads(base64.b64decode(json.loads(attested.stdout)["payload"]))
    named = {one["name"]: one for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert named["image"]["uri"] == f"oci://{before.image.partition('@')[0]}"
    assert f"sha256:{named['image']['digest']['sha256']}" == before.image.partition("@")[2]


async def test_the_program_signs_with_the_key_of_the_file_and_says_nothing_of_it(world: Any, pair: Pair) -> None:
    request, settings = world.request(), world.store.settings
    world.folder.joinpath("request.json").write_text(request.to_json())
    store = {
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "AWS_ENDPOINT_URL": settings.endpoint,
    }
    words = ["--request", str(world.folder / "request.json"), "--signing-key", str(pair.private)]
    line = [sys.executable, "-m", "edgesmith_builder", *words]

    def run(password: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **store, "COSIGN_PASSWORD": password}
        return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)

    refused = run("wrong-password")
    assert refused.returncode == 1
    assert f"--signing-key {pair.private} cannot be used: its password is another" in refused.stderr
    done = run(PASSWORD)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stderr + refused.stderr
    assert await finding(done.stdout.strip(), pair.key().public) == "Signed"


async def test_cosign_refuses_another_key_and_an_image_without_a_signature(
    world: Any, pair: Pair, tmp_path: Path
) -> None:
    other = another(tmp_path).public
    built = await make(world, world.request(), Maker(pair.key()))
    assert verify(built.image, other, world.folder).returncode != 0
    plain = await make(world, world.request())
    assert verify(plain.image, pair.public, world.folder).returncode != 0


async def test_a_signature_that_cosign_made_is_found(world: Any, pair: Pair) -> None:
    built = await make(world, world.request())
    public = PublicKey.from_pem(pair.public.read_text())
    assert await finding(built.image, public) == "Missing"
    config = world.folder / "signing.json"
    assert cosign("signing-config", "create", "--out", str(config), folder=world.folder).returncode == 0
    signed = cosign(
        "sign", "--yes", "--key", str(pair.private), "--signing-config", str(config), "--allow-http-registry",
        built.image, folder=world.folder,
    )  # fmt: skip
    assert signed.returncode == 0, signed.stderr
    assert await finding(built.image, public) == "Signed"
    assert BILL in {kind for kind, _ in await hanging(built.image)}


async def test_an_image_without_the_builders_signature_is_made_again_and_never_just_signed(
    world: Any, pair: Pair
) -> None:
    request = world.request()
    maker = Maker(pair.key())
    before = await make(world, request)
    assert (await make(world, request)).cached
    after = await make(world, request, maker)
    assert (after.cached, after.image) == (False, before.image)
    assert await finding(after.image, pair.key().public) == "Signed"
    assert (await make(world, request, maker)).cached


async def finding(image: str, key: PublicKey) -> str:
    reference = Reference.parse(image)
    async with Registry(plain_http=True) as client:
        return await look_for(client, reference.repository, reference.target, key)


async def test_what_is_hung_on_an_image_without_being_its_signature_is_none(world: Any, pair: Pair) -> None:
    built = await make(world, world.request())
    reference, key = Reference.parse(built.image), pair.key()
    other = key.sign(Statement(f"sha256:{'0' * 64}", SIGNED))
    about = key.sign(Statement(reference.target, "https://example.com/looked-at"))
    disguised = Referrer(BUNDLE, about.content, {"dev.sigstore.bundle.predicateType": SIGNED})
    envelope = json.loads(await read(key.sign(Statement(reference.target, SIGNED))))
    envelope["dsseEnvelope"]["payloadType"] = "text/plain"
    retyped = Referrer(BUNDLE, BytesBlob(canonical(envelope), BUNDLE))
    junk = Referrer(BUNDLE, BytesBlob(b"[" * 9000, BUNDLE))
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None
        subject = Descriptor.of(manifest.to_bytes(), MANIFEST)
        await client.attach(reference.repository, subject, [other, disguised, retyped, junk])
        assert await finding(built.image, key.public) == "Invalid"
        await client.attach(reference.repository, subject, [key.sign(Statement(reference.target, SIGNED))])
    assert await finding(built.image, key.public) == "Signed"


async def looked_up(built: Built, request: BuildRequest, asked: str | None) -> object:
    """What the operator makes of an image, where it asks for signatures by a key."""
    async with Registry(plain_http=True) as client:
        images = Images(client, time.monotonic, asked)
        found = await images.look_up(request.repository, [Wanted(request.build)])
    assert built.image.startswith(request.repository)
    return found[request.build.key]


async def test_the_operator_takes_what_is_signed_by_its_key_and_nothing_else(
    world: Any, pair: Pair, tmp_path: Path
) -> None:
    other = another(tmp_path).public_text
    request = world.request()
    built = await make(world, request)
    assert isinstance(await looked_up(built, request, None), Image)
    assert await looked_up(built, request, pair.public_text) == UnsignedImage(built.image, "Missing")
    await make(world, request, Maker(pair.key()))
    taken = await looked_up(built, request, pair.public_text)
    assert isinstance(taken, Image)
    assert taken.reference == built.image
    assert await looked_up(built, request, other) == UnsignedImage(built.image, "Invalid")


async def test_a_signature_is_no_good_for_the_image_of_another_build(world: Any, pair: Pair) -> None:
    """An old image with a signature of ours under the tag of a newer build is still the old one."""
    old = world.request()
    new = BuildRequest(
        build=old.build.model_copy(update={"output": "scores"}), repository=old.repository, plain_http=True
    )
    built = await make(world, old, Maker(pair.key()))
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(Reference.parse(built.image))
        assert manifest is not None
        await client.push_manifest(Reference.parse(new.image), manifest.to_bytes())
    assert isinstance(await looked_up(built, new, pair.public_text), StrangeImage)


async def test_a_registry_that_cannot_say_what_is_signed_is_asked_again(world: Any, pair: Pair) -> None:
    request = world.request()
    built = await make(world, request, Maker(pair.key()))
    async with (
        httpx.AsyncHTTPTransport() as whole,
        Registry(plain_http=True, backoff=Backoff(1, 0.0, 0.0), transport=_Silent(whole)) as client,
    ):
        images = Images(client, time.monotonic, pair.public_text)
        found = await images.look_up(request.repository, [Wanted(request.build)])
    assert isinstance(found[request.build.key], RegistryProblem)
    assert built.image


class _Seen(httpx.AsyncBaseTransport):
    """The way to a registry, with the names of the manifests that were put, in order."""

    def __init__(self, whole: httpx.AsyncHTTPTransport) -> None:
        self.put: list[str] = []
        self._whole = whole

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and "/manifests/" in request.url.path:
            self.put.append(request.url.path.rpartition("/")[2])
        return await self._whole.handle_async_request(request)


class _Silent(httpx.AsyncBaseTransport):
    """The way to a registry that says nothing of what hangs on an image."""

    def __init__(self, whole: httpx.AsyncHTTPTransport) -> None:
        self._whole = whole

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "/referrers/" in request.url.path:
            raise httpx.ConnectError("nobody", request=request)
        return await self._whole.handle_async_request(request)


async def read(referrer: Referrer) -> bytes:
    return b"".join([piece async for piece in referrer.content.stream(0)])


async def base_with(world: Any, labels: Mapping[str, str]) -> str:
    """The base image with labels."""
    reference = Reference.parse(world.base)
    async with Registry(plain_http=True) as client:
        config = BytesBlob(
            canonical(
                {
                    "os": "linux",
                    "architecture": "amd64",
                    "config": {"Labels": dict(labels)},
                    "rootfs": {"type": "layers", "diff_ids": []},
                }
            ),
            CONFIG,
        )
        await client.push_blob(reference.repository, config)
        raw = Manifest(config.descriptor, ()).to_bytes()
        digest = Descriptor.of(raw, MANIFEST).digest
        await client.push_manifest(reference.repository.pinned(digest), raw)
    return str(reference.repository.pinned(digest))
