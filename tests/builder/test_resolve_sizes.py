"""How large a file is whose digest is given: a real store and a real registry are asked, and nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from artifacts import TITLE, pushed
from authority import Authority
from looker import QUICK, Serve, make_authority, make_serve
from played import Answer

from edgesmith_builder import resolve as resolving
from edgesmith_builder.contract import Artifact, FileToResolve, ResolvedFile, ResolveRequest
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.oci import Credentials
from edgesmith_builder.oci.content import LAYER
from edgesmith_builder.resolve import resolve
from edgesmith_builder.source import Artifacts, Bucket, Limit, Sources, Web

authority = pytest.fixture(scope="module")(make_authority)
serve = pytest.fixture(make_serve)

DATA = b"of a model" * 1000
GIVEN = "a" * 64
"""What the spec says; nobody who is asked for a size alone can know better, but for a registry."""


@pytest.fixture(autouse=True)
def _nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (Bucket, Web, Artifacts):
        monkeypatch.setattr(place, "fetch", None)
    monkeypatch.setattr(resolving, "largest_model", lambda _: Limit(1, ModelInvalid))


def asked(place: Any, uri: str, folder: Path, sha256: str = GIVEN) -> ResolvedFile:
    """What a resolve Job answers of one file."""
    file = FileToResolve(field="source", uri=uri, sha256=sha256, given=True)
    scheme = uri.partition(":")[0]
    (found,) = resolve(ResolveRequest(files=(file,)), Sources({scheme: place}), folder).files
    assert (found.field, found.sha256, found.validator) == ("source", sha256, None)
    return found


def test_an_object_and_one_that_is_not_there(store: Any, tmp_path: Path) -> None:
    bucket = Bucket(store.settings, attempts=2, first_delay=0.01)
    assert asked(bucket, store.put("sizes/one", DATA), tmp_path).bytes == len(DATA)
    assert asked(bucket, "s3://models/sizes/none", tmp_path).bytes is None


def test_a_layer_by_its_manifest_where_it_is_the_file(registry: str, tmp_path: Path) -> None:
    artifact = pushed(registry, (DATA, LAYER, {TITLE: "model.onnx"}))
    place = Artifacts(Credentials(), plain=[registry], patience=QUICK)
    layer = place.look("source", Artifact(uri=f"oci://{artifact}:1"), Limit(10**9, ModelInvalid))
    assert asked(place, f"oci://{artifact}:1", tmp_path, str(layer.sha256)).bytes == len(DATA)
    assert asked(place, f"oci://{artifact}:1", tmp_path).bytes is None, "the registry has another file there"
    assert asked(place, f"oci://{artifact}:none", tmp_path).bytes is None


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        (Answer(headers={"Content-Length": str(5 * 2**40)}), 5 * 2**40),
        (Answer(headers={"Content-Length": "0"}), None),
        (Answer(status=403), None),
        (Answer(status=404), None),
        (Answer(status=503), None),
        (Answer(status=302, headers={"Location": "http://nobody.example/x"}), None),
    ],
    ids=["more than anybody takes", "nothing", "refused", "absent", "down", "leads on without TLS"],
)
def test_a_page_and_one_that_gives_no_answer(
    serve: Serve, authority: Authority, tmp_path: Path, answer: Answer, size: int | None
) -> None:
    server = serve(lambda _: answer)
    assert asked(Web(None, authority.pem, patience=QUICK), f"{server.endpoint}/a", tmp_path).bytes == size


def test_what_is_asked_beside_it_is_looked_at_as_ever(store: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.undo()
    bucket = Bucket(store.settings, attempts=2, first_delay=0.01)
    files = (
        FileToResolve(field="source", uri="s3://models/sizes/none", sha256=GIVEN, given=True),
        FileToResolve(field="evaluation", uri=store.put("sizes/set", DATA)),
    )
    found = resolve(ResolveRequest(files=files), Sources({"s3": bucket}), tmp_path).files
    assert [(one.field, one.bytes) for one in found] == [("source", None), ("evaluation", len(DATA))]
