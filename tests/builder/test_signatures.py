"""Keys: which are read, what is said about the others, and that signatures are the same each time."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edgesmith_builder.cli import main
from edgesmith_builder.signatures import SIGNED, Statement
from edgesmith_builder.signatures.private import PrivateKey
from edgesmith_builder.signatures.public import PublicKey

KEY = ec.generate_private_key(ec.SECP256R1())
PASSWORD = "right-password"  # noqa: S105 - of a key that ends with the test
LOCK = serialization.BestAvailableEncryption(PASSWORD.encode())
SEALED = ed25519.Ed25519PrivateKey.generate()
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def pem(key: Key, form: PrivateFormat = PrivateFormat.PKCS8, *, locked: bool = False) -> str:
    return key.private_bytes(Encoding.PEM, form, LOCK if locked else NoEncryption()).decode()


def public_pem(key: Key) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (pem(KEY), None),
        (pem(KEY), "not needed"),
        (pem(KEY, PrivateFormat.TraditionalOpenSSL), None),
        (pem(KEY, locked=True), PASSWORD),
        (pem(KEY, PrivateFormat.TraditionalOpenSSL, locked=True), PASSWORD),
    ],
)
def test_every_usual_form_is_read(text: str, password: str | None) -> None:
    assert PrivateKey.from_pem(text, password).public.hint == PublicKey(KEY.public_key()).hint


def test_a_statement_has_the_same_signature_each_time_and_another_one_another() -> None:
    key, one = PrivateKey(KEY), Statement(f"sha256:{'1' * 64}", SIGNED)
    assert key.sign(one).content.descriptor == key.sign(one).content.descriptor
    other = Statement(f"sha256:{'2' * 64}", SIGNED)
    assert key.sign(one).content.descriptor != key.sign(other).content.descriptor


def cosigns(**changes: object) -> str:
    box = {
        "kdf": {"name": "scrypt", "params": {"N": 1024, "r": 8, "p": 1}, "salt": "c2FsdA=="},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": base64.b64encode(bytes(80)).decode(),
        **changes,
    }
    body = base64.b64encode(json.dumps(box).encode()).decode()
    return f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"


COSTLY = {"name": "scrypt", "params": {"N": 2**30, "r": 8, "p": 1}, "salt": "c2FsdA=="}


@pytest.mark.parametrize(
    ("text", "password", "said"),
    [
        ("", None, "cannot be read"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None, "cannot be read"),
        (pem(KEY, locked=True), None, "no password is given"),
        (pem(KEY, locked=True), "wrong", "not with this password"),
        (pem(ec.generate_private_key(ec.SECP384R1())), None, "of another kind"),
        (pem(SEALED), None, "of another kind"),
        (cosigns(), "wrong", "its password is another"),
        (cosigns(kdf=COSTLY), "x", "cannot be read"),
        (cosigns(cipher={"name": "other", "nonce": ""}), "x", "cannot be read"),
        (cosigns(kdf={"name": "scrypt"}), "x", "cannot be read"),
        (cosigns(kdf=7), "x", "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_used_is_said_without_its_text(text: str, password: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        PrivateKey.from_pem(text, password)
    assert (text[40:60] or "BEGIN") not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "PEM", public_pem(SEALED), public_pem(ec.generate_private_key(ec.SECP384R1()))])
def test_only_a_public_key_of_the_right_kind_is_one(text: str) -> None:
    with pytest.raises(ValueError, match="ECDSA over P-256, was expected"):
        PublicKey.from_pem(text)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--signing-key", "{folder}/none"], "--signing-key {folder}/none cannot be read"),
        (["--signing-key", "{folder}/request.json"], "--signing-key {folder}/request.json cannot be used"),
        (["--signing-key", "{folder}/binary"], "--signing-key {folder}/binary is no text"),
        (["--builder-image", "hub.example/builder:1"], "--builder-image is 'hub.example/builder:1'"),
    ],
)
def test_the_command_line_says_what_is_wrong_with_the_key(flags: list[str], said: str, tmp_path: Path) -> None:
    build = {"source": {"uri": "s3://a/b"}, "platform": {"architecture": "amd64"},
             "toolchain": {"name": "ONNXRuntime", "precisions": ["fp32"]},
             "base": f"hub.example/runtime@sha256:{'1' * 64}"}  # fmt: skip
    request, log = tmp_path / "request.json", tmp_path / "log"
    request.write_text(json.dumps({"build": build, "repository": "hub.example/m"}))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    words = [word.format(folder=tmp_path) for word in flags]
    assert main(["--request", str(request), "--termination-log", str(log), *words]) == 1
    failure = json.loads(log.read_text())
    assert failure["reason"] == "RequestInvalid"
    assert failure["message"].startswith(said.format(folder=tmp_path))
