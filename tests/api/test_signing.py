"""Signatures from the chart's values to the nodes: who signs, what is rolled out, and what is not."""

from __future__ import annotations

import pytest
from apiserver import ApiServer, wait_for
from build_outcomes import finish_build, push_build
from chart_rendering import pick, render
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kubelets import Kubelets
from operator_process import Operator, device_profile, edge_model, wait_condition
from rollouts import labels

from edgesmith.api.names import BUILD_KEY_LABEL
from edgesmith_builder.oci import Descriptor, Reference, Registry
from edgesmith_builder.oci.content import MANIFEST
from edgesmith_builder.signatures import SIGNED, Statement
from edgesmith_builder.signatures.private import PrivateKey

SECRET = "signing-key"  # noqa: S105 -- the name of a Secret


@pytest.fixture
def key() -> PrivateKey:
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


def public_text(key: PrivateKey) -> str:
    return key.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def told(key: PrivateKey) -> dict[str, str]:
    """What the chart's values have the operator know of signatures."""
    signing = {"keySecret": SECRET, "publicKey": public_text(key), "policy": "Require"}
    settings: dict[str, str] = pick(render({"signing": signing}), "ConfigMap", "edgesmith-settings")["data"]
    return {name: value for name, value in settings.items() if name.startswith("EDGESMITH_SIGNING_")}


async def sign(image: str, key: PrivateKey) -> None:
    """Sign an image as a build Job does."""
    reference = Reference.parse(image)
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None
        subject = Descriptor.of(manifest.to_bytes(), MANIFEST)
        assert subject.digest == reference.target
        await client.attach(reference.repository, subject, [key.sign(Statement(reference.target, SIGNED))])


@pytest.mark.timeout(180)
async def test_what_the_chart_says_of_signatures_holds_up_to_the_nodes(
    server: ApiServer, namespace: str, kubelets: Kubelets, operator: Operator, key: PrivateKey
) -> None:
    node, profile = f"{namespace}-1", f"{namespace}-device"
    kubelets.add(node, profile)
    server.apply([device_profile(profile), edge_model("parts", namespace)])
    operator.settings = told(key)
    operator.start()
    job = wait_for("a build Job", lambda: next(iter(server.items("jobs", namespace)), None))
    pod = job["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if one.get("secret", {}).get("secretName") == SECRET)
    (builder,) = pod["containers"]
    (mount,) = (one for one in builder["volumeMounts"] if one["name"] == volume["name"])
    assert builder["args"][builder["args"].index("--signing-key") + 1] == f"{mount['mountPath']}/cosign.key"

    image = await push_build(operator.registry, namespace, job["metadata"]["labels"][BUILD_KEY_LABEL])
    finish_build(server, job, image)
    said = wait_condition(server, namespace, "parts", "Stalled", "SignatureMissing", seconds=60)["message"]
    assert f"{image} has the tag of the build for {profile} and no signature; it is not rolled out" in said
    assert f"The Secret '{SECRET}' must hold the private half of signing.publicKey" in said
    operator.wait_idle()
    assert not labels(server, namespace)

    await sign(image, PrivateKey(ec.generate_private_key(ec.SECP256R1())))
    operator.end()
    operator.start()
    said = wait_condition(server, namespace, "parts", "Stalled", "SignatureInvalid", seconds=60)["message"]
    assert "no signature by the key of signing.publicKey" in said
    assert not labels(server, namespace)

    await sign(image, key)
    operator.end()
    operator.start()
    wait_condition(server, namespace, "parts", "Ready", "Succeeded", seconds=60)
    assert set(labels(server, namespace)) == {node}
    (served,) = server.items("daemonsets", namespace)
    assert served["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert [one["metadata"]["uid"] for one in server.items("jobs", namespace)] == [job["metadata"]["uid"]]
