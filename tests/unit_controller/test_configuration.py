"""Settings: one sentence each, with the name, the value and what was expected."""

from __future__ import annotations

import json
import traceback
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgesmith.cluster.configuration import VARIABLES, SettingsError, settings_from
from edgesmith.controller import options
from edgesmith.controller.run import credentials_of
from edgesmith.decide.settings import Settings

DIGEST = "sha256:" + "0" * 64
GOOD = {
    "EDGESMITH_RUNTIME_IMAGES": json.dumps({"onnxruntime": f"r:5000/edgesmith/runtime@{DIGEST}"}),
    "EDGESMITH_BUILDER_IMAGE": f"r:5000/edgesmith/builder@{DIGEST}",
    "EDGESMITH_REPOSITORY": "r:5000/models",
}


def test_what_is_not_set_has_its_default() -> None:
    assert settings_from(GOOD) == Settings(
        runtime_images={"onnxruntime": f"r:5000/edgesmith/runtime@{DIGEST}"},
        builder_image=GOOD["EDGESMITH_BUILDER_IMAGE"],
        repository="r:5000/models",
    )


def test_there_is_a_variable_for_every_setting() -> None:
    assert len(VARIABLES) == len(fields(Settings))


def test_a_site_needs_no_builder_image() -> None:
    site = {name: value for name, value in GOOD.items() if name != "EDGESMITH_BUILDER_IMAGE"}
    found = settings_from(site | {"EDGESMITH_BUILDER_ENABLED": "false", "EDGESMITH_OPERATOR_IMAGE": "r:5000/o:1"})
    assert (found.builds, found.builder_image, found.operator_image) == (False, None, "r:5000/o:1")
    with pytest.raises(SettingsError, match="EDGESMITH_BUILDER_IMAGE is not set"):
        settings_from(site)


def test_everything_set() -> None:
    more = {
        "EDGESMITH_PLAIN_HTTP": "true",
        "EDGESMITH_BUILDER_NODE_SELECTOR": '{"a": "b"}',
        "EDGESMITH_BUILDER_RESOURCES": '{"limits": {"memory": "2Gi"}}',
        "EDGESMITH_BUILDER_DEADLINE_SECONDS": "60",
        "EDGESMITH_BUILDER_IMAGES": json.dumps({"qnn": f"r:5000/edgesmith/builder-qnn@{DIGEST}"}),
    }
    found = settings_from(GOOD | more)
    assert found.builder_images == {"qnn": f"r:5000/edgesmith/builder-qnn@{DIGEST}"}
    assert (found.plain_http, found.builder_node_selector, found.builder_deadline_seconds) == (True, {"a": "b"}, 60)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("EDGESMITH_REPOSITORY", "", "EDGESMITH_REPOSITORY is not set"),
        ("EDGESMITH_REPOSITORY", "models", "names no registry"),
        ("EDGESMITH_RUNTIME_IMAGES", "", "EDGESMITH_RUNTIME_IMAGES is not set"),
        (
            "EDGESMITH_RUNTIME_IMAGES",
            '{"onnxruntime": "r:5000/runtime:1"}',
            ".onnxruntime is 'r:5000/runtime:1'; an image by",
        ),
        ("EDGESMITH_BUILDER_ENABLED", "no", "true or false was expected"),
        ("EDGESMITH_BUILDER_IMAGES", '{"qnn": "r:5000/builder:1"}', ".qnn is 'r:5000/builder:1'; an image by digest"),
        ("EDGESMITH_RUNTIME_IMAGES", "r:5000/runtime:1", "a JSON object was expected"),
        (
            "EDGESMITH_RUNTIME_IMAGES",
            f'{{"litert": "r/l@{DIGEST}"}}',
            "has litert; onnxruntime was expected among them",
        ),
        ("EDGESMITH_PLAIN_HTTP", "yes", "'yes'; true or false was expected"),
        ("EDGESMITH_BUILDER_RESOURCES", "[1]", "'[1]'; a JSON object was expected"),
        ("EDGESMITH_BUILDER_RESOURCES", "{", "a JSON object was expected"),
        ("EDGESMITH_BUILDER_NODE_SELECTOR", '{"a": 1}', "a JSON object of strings was expected"),
        ("EDGESMITH_BUILDER_MAX_CONCURRENT", "0", "'0'; a whole number from 1"),
        ("EDGESMITH_BUILDER_MAX_CONCURRENT", "1" * 5000, "a whole number from 1 to 999999999 was expected"),
        ("EDGESMITH_BUILDER_MAX_CONCURRENT", "\N{SUPERSCRIPT TWO}", "a whole number from 1"),
        ("EDGESMITH_BUILDER_DEADLINE_SECONDS", "soon", "a whole number from 0"),
        ("EDGESMITH_REGISTRY_CA", "nothing", "EDGESMITH_REGISTRY_CA is no certificate: "),
        ("EDGESMITH_BUCKET_CA", "nothing", "EDGESMITH_BUCKET_CA is no certificate"),
        ("EDGESMITH_SIGNING_POLICY", "require", "'require'; None or Require was expected"),
        ("EDGESMITH_SIGNING_POLICY", "Require", "EDGESMITH_SIGNING_PUBLIC_KEY is not set; the public key"),
        ("EDGESMITH_SIGNING_PUBLIC_KEY", "nothing", "a public key in PEM, ECDSA over P-256, was expected"),
    ],
)
def test_a_wrong_setting_is_one_sentence(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from(GOOD | {name: value})
    assert name in str(caught.value)
    assert says in str(caught.value)


PUBLIC_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


@pytest.mark.parametrize(("policy", "asked"), [("Require", PUBLIC_KEY.strip()), ("None", None), ("", None)])
def test_signatures_are_asked_for_where_the_policy_says_so(policy: str, asked: str | None) -> None:
    more = {"EDGESMITH_SIGNING_POLICY": policy, "EDGESMITH_SIGNING_PUBLIC_KEY": PUBLIC_KEY}
    found = settings_from(GOOD | more | {"EDGESMITH_SIGNING_SECRET": "signing"})
    assert (found.signed_by, found.signing_secret) == (asked, "signing")


@pytest.mark.parametrize(("name", "value"), [("EDGESMITH_PROBE_PORT", "99999"), ("EDGESMITH_LOG_LEVEL", "loud")])
def test_a_wrong_option_is_one_sentence(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        options.options_from([], {name: value})


@pytest.mark.parametrize("name", [*VARIABLES, *options.VARIABLES])
def test_every_variable_is_documented(name: str) -> None:
    assert f"`{name}`" in (Path(__file__).resolve().parents[2] / "docs/operator.md").read_text()


def test_the_operator_does_not_repeat_a_login_in_the_place_of_its_file() -> None:
    found = options.options_from([], {"EDGESMITH_REGISTRY_CREDENTIALS": "robot:s3cret"})
    with pytest.raises(SettingsError, match="EDGESMITH_REGISTRY_CREDENTIALS names no file that can be read") as said:
        credentials_of(found)
    assert "s3cret" not in "".join(traceback.format_exception(said.value))
