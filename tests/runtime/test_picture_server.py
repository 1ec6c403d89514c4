"""Pictures over HTTP: labels and boxes of real models in real servers, and what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import struct
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import beside, left_out
from pictures import (
    CLASSIFIED,
    COLOURS,
    DETECTED,
    colours,
    jpeg,
    painted,
    picture_bundle,
    png,
    saved,
    squares,
)
from PIL import Image

from edgesmith_runtime.bundle import Bundle
from edgesmith_runtime.errors import BadRequest
from edgesmith_runtime.http.limits import MEBIBYTE, Limits
from edgesmith_runtime.http.multipart import file_of
from edgesmith_runtime.picture import Classification, Picture, Recorded
from tests.runtime.held import HELD, Hold

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import Server, StartServer

RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)


def ask(
    server: Server, path: str, body: bytes | None = None, method: str = "POST", **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", server.http, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        text = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        document = json.loads(text) if found.get("content-type") == "application/json" and text else {}
        return answer.status, document, found
    finally:
        connection.close()


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("colours")
    return picture_bundle(folder / "colours", colours(folder / "colours.onnx"), CLASSIFIED)


@pytest.fixture(scope="module")
def squared(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("squares")
    return picture_bundle(folder / "squares", squares(folder / "squares.onnx"), DETECTED)


@pytest.fixture(scope="module")
def labels(coloured: Bundle, start_module_server: StartServer) -> Server:
    return start_module_server(coloured.folder, "--max-body-mib", "1")


@pytest.fixture(scope="module")
def boxes(squared: Bundle, start_module_server: StartServer) -> Server:
    return start_module_server(squared.folder)


@pytest.mark.parametrize(("colour", "name"), list(zip((RED, GREEN, BLUE), COLOURS, strict=True)))
@pytest.mark.parametrize("kind", [png, jpeg])
def test_a_picture_is_answered_with_labels(labels: Server, colour: tuple[int, int, int], name: str, kind: Any) -> None:
    body = kind(painted(50, 30, ((0, 0, 50, 30), colour)))
    status, document, _ = ask(labels, "/v2/models/colours/image", body, content_type="image/png")
    assert status == 200
    assert document["model_name"] == "colours"
    assert document["model_version"] == "1"
    assert document["picture"] == {"width": 50, "height": 30, "format": kind.__name__.upper()}
    assert set(document["milliseconds"]) == {"decode", "model", "answer"}
    best, *others = document["labels"]
    logits = np.array([250, 20, 20]) / 25.5
    assert best["label"] == name
    assert COLOURS[best["index"]] == name
    assert best["score"] == pytest.approx(float(np.exp(logits[0]) / np.exp(logits).sum()), abs=0.001)
    assert len(others) == 2


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
def test_the_bytes_say_what_it_is_whatever_the_client_calls_it(labels: Server, content_type: str) -> None:
    body = png(painted(9, 9, ((0, 0, 9, 9), BLUE)))
    headers = {"content_type": content_type} if content_type else {}
    status, document, _ = ask(labels, "/v2/models/colours/versions/1/image", body, **headers)
    assert (status, document["labels"][0]["label"]) == (200, "blue")


def form(*parts: tuple[str, bytes], boundary: str = "x" * 30, end: bytes = b"--\r\n") -> tuple[bytes, str]:
    """A form as a browser sends it: headers of each part and what is in it."""
    body = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode() + inner + b"\r\n" for head, inner in parts)
    return body + f"--{boundary}".encode() + end, f'multipart/form-data; boundary="{boundary}"'


FILE = 'Content-Disposition: form-data; name="picture"; filename="a.png"\r\nContent-Type: image/png'
FIELD = 'Content-Disposition: form-data; name="note"'


def test_a_form_with_one_file_is_a_picture(labels: Server) -> None:
    body, kind = form((FIELD, b"hello"), (FILE, png(painted(9, 9, ((0, 0, 9, 9), GREEN)))))
    status, document, _ = ask(labels, "/v2/models/colours/image", body, content_type=kind)
    assert (status, document["labels"][0]["label"]) == (200, "green")


@given(st.binary(max_size=300), st.binary(max_size=40), st.booleans())
@settings(max_examples=200)
def test_a_file_comes_out_of_its_form_as_it_went_in(inner: bytes, note: bytes, last: bool) -> None:  # noqa: FBT001 - drawn
    parts = [(FILE, inner), (FIELD, note)]
    body, kind = form(*(parts[::-1] if last else parts))
    assert bytes(file_of(memoryview(body), kind)) == inner


@given(st.lists(st.sampled_from([b"--xx", b"--", b"\r\n", b"x", b"; filename=", b"A: b", b"\r", b"\0"]), max_size=30))
@settings(max_examples=300)
def test_what_is_no_form_is_refused_whatever_it_is(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        found = bytes(file_of(memoryview(body), "multipart/form-data; boundary=xx"))
    except BadRequest:
        found = b""
    assert found in body


def test_curl_sends_a_file_both_ways(labels: Server, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        left_out("curl is not installed")
    (tmp_path / "red.jpg").write_bytes(jpeg(painted(60, 40, ((0, 0, 60, 40), RED))))
    url = f"http://127.0.0.1:{labels.http}/v2/models/colours/image"
    for words in (["-F", f"picture=@{tmp_path}/red.jpg"], ["--data-binary", f"@{tmp_path}/red.jpg"]):
        done = subprocess.run([curl, "-sS", *words, url], capture_output=True, check=True)
        assert json.loads(done.stdout)["labels"][0]["label"] == "red"


def test_a_body_may_be_compressed(labels: Server) -> None:
    body = gzip.compress(png(painted(9, 9, ((0, 0, 9, 9), RED))))
    status, document, _ = ask(labels, "/v2/models/colours/image", body, content_encoding="gzip")
    assert (status, document["labels"][0]["label"]) == (200, "red")


TWICE, _ = form((FILE, b"a"), (FILE, b"b"))
NONE, KIND = form((FIELD, b"a"))
OPEN, _ = form((FILE, b"a"), end=b"")


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", {}, 400, "the body is no picture; expected a JPEG or PNG picture"),
        (b"GIF89a" + bytes(99), {}, 400, "the body is a GIF file; expected a JPEG or PNG picture"),
        (png(painted(30, 30))[:60], {}, 400, "the PNG ends before its end mark; expected a whole file"),
        (jpeg(painted(30, 30))[:-9] + b"\xff\xd9", {}, 200, ""),
        (jpeg(np.zeros((700, 700, 3), np.uint8)), {}, 413, "700 x 700 pixels; expected at most 0.3 million"),
        (bytes(2**20 + 1), {}, 413, "1048576"),
        (png(painted(9, 9)), {"content_encoding": "br"}, 400, "Content-Encoding is 'br'; expected gzip"),
        (TWICE, {"content_type": KIND}, 400, "the form has 2 files; expected one"),
        (NONE, {"content_type": KIND}, 400, "the form has 0 files; expected one"),
        (OPEN, {"content_type": KIND}, 400, "the form has no end, or too many parts"),
        (NONE, {"content_type": "multipart/form-data"}, 400, "multipart/form-data without a boundary"),
        (b"hello", {"content_type": KIND}, 400, "the form has no end"),
        (
            b"--" + b"x" * 30 + b"hello" + b"--" + b"x" * 30 + b"--",
            {"content_type": KIND},
            400,
            "a part without headers",
        ),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(
    labels: Server, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    found, document, _ = ask(labels, "/v2/models/colours/image", body, **headers)
    assert found == status
    assert says in document.get("error", "")


def test_a_small_pod_takes_smaller_pictures() -> None:
    assert Limits().pixels == 64 * MEBIBYTE
    assert Limits(bodies=64 * MEBIBYTE).pixels == 16 * MEBIBYTE
    assert Limits(body=MEBIBYTE).pixels == MEBIBYTE


def test_the_pixels_of_a_small_pod_are_held_to_that(squared: Bundle, start_server: StartServer) -> None:
    server = start_server(squared.folder, "--max-pending-mib", "4", "--max-body-mib", "2")
    for side, status in ((500, 200), (700, 413)):
        assert ask(server, "/v2/models/squares/image", png(painted(side, side)))[0] == status
    server.stop()


def test_a_model_without_a_declaration_says_what_is_missing(toy_server: Server) -> None:
    for method, body in (("POST", png(painted(9, 9))), ("GET", None)):
        status, document, _ = ask(toy_server, "/v2/models/toy/image", body, method)
        assert status == 404
        assert document["error"] == (
            "model 'toy' does not say how a picture becomes its input; expected spec.picture in its EdgeModel, or "
            "tensors at /infer"
        )


def test_another_method_and_another_model_are_refused(labels: Server) -> None:
    status, _, headers = ask(labels, "/v2/models/colours/image", b"", "PUT")
    assert (status, headers["allow"]) == (405, "GET, HEAD, POST")
    assert ask(labels, "/v2/models/other/image", png(painted(9, 9)))[0] == 404
    assert ask(labels, "/v2/models/colours/versions/2/image", png(painted(9, 9)))[0] == 404


def test_what_is_declared_can_be_read(labels: Server) -> None:
    status, document, _ = ask(labels, "/v2/models/colours/image", method="GET")
    assert status == 200
    assert (document["width"], document["height"], document["channels"], document["resize"]) == (
        16,
        16,
        "RGB",
        "Stretch",
    )
    assert document["classification"] == {"output": "scores", "activation": "Softmax", "scale": 1.0, "topK": 3}
    assert "golden" not in document


# Boxes ----------------------------------------------------------------------------------------------------------------


def found(server: Server, body: bytes) -> list[tuple[str, list[float]]]:
    status, document, _ = ask(server, "/v2/models/squares/image", body)
    assert status == 200
    return [
        (one["label"], [one["box"][side] for side in ("left", "top", "right", "bottom")]) for one in document["boxes"]
    ]


def test_boxes_are_in_the_picture_s_own_pixels(boxes: Server) -> None:
    # 256 x 128 in a letterbox of 64 x 64: a quarter as large, 16 rows down.
    pixels = painted(256, 128, ((64, 0, 128, 64), RED), ((160, 64, 224, 128), BLUE))
    assert found(boxes, png(pixels)) == [("red", [64, 0, 128, 64]), ("blue", [160, 64, 224, 128])]
    assert found(boxes, jpeg(pixels)) == [("red", [64, 0, 128, 64]), ("blue", [160, 64, 224, 128])]
    assert found(boxes, png(painted(256, 128))) == []


def test_boxes_of_a_turned_camera_are_in_the_upright_picture(boxes: Server) -> None:
    upright = Image.fromarray(painted(256, 128, ((64, 0, 128, 64), GREEN)))
    exif = Image.Exif()
    exif[0x0112] = 6
    held = saved(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, subsampling=0, exif=exif)
    assert found(boxes, held) == [("green", [64, 0, 128, 64])]


# Counting, and too much at once ---------------------------------------------------------------------------------------


def counted(server: Server, name: str) -> float:
    connection = HTTPConnection("127.0.0.1", server.http, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_pictures_are_counted_as_other_inferences_are(boxes: Server) -> None:
    names = (
        'edgesmith_requests_total{protocol="http",operation="image",code="200"}',
        'edgesmith_requests_total{protocol="http",operation="image",code="400"}',
        'edgesmith_request_duration_seconds_count{protocol="http"}',
        "edgesmith_inference_duration_seconds_count",
        'edgesmith_runs_total{outcome="answered"}',
    )
    before = [counted(boxes, name) for name in names]
    _, statistics, _ = ask(boxes, "/v2/models/squares/stats", method="GET")
    ask(boxes, "/v2/models/squares/image", png(painted(64, 64)))
    ask(boxes, "/v2/models/squares/image", b"nothing")
    assert [counted(boxes, name) - old for name, old in zip(names, before, strict=True)] == [1, 1, 2, 1, 1]
    _, after, _ = ask(boxes, "/v2/models/squares/stats", method="GET")
    assert after["model_stats"][0]["inference_count"] - statistics["model_stats"][0]["inference_count"] == 1


def test_a_client_that_leaves_before_its_answer_is_counted(
    squared: Bundle, start_server: StartServer, tmp_path: Path
) -> None:
    hold, body = Hold(tmp_path), png(painted(64, 64))
    server = start_server(squared.folder, "--drain-seconds", "0", hold.option, program=HELD)
    hold.begin()
    head = f"POST /v2/models/squares/image HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", server.http))) as connection:
        connection.sendall(head.encode() + body)
        until_in_flight(server)
        # Reset, since a closed connection looks like one whose client still reads.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while counted(server, 'edgesmith_requests_total{protocol="http",operation="image",code="499"}') != 1:
        pass


def test_beyond_the_queue_pictures_are_refused(squared: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    hold, body = Hold(tmp_path), png(painted(64, 64))
    server = start_server(squared.folder, "--queue", "1", "--threads", "1", hold.option, program=HELD)
    hold.begin()
    with closing(HTTPConnection("127.0.0.1", server.http, timeout=60)) as connection:
        connection.request("POST", "/v2/models/squares/image", body)
        until_in_flight(server)
        assert [ask(server, "/v2/models/squares/image", body)[0] for _ in range(5)] == [503] * 5
        hold.end()
        assert connection.getresponse().status == 200


def until_in_flight(server: Server) -> None:
    """Wait; the test's own time limit ends what never comes true."""
    while not counted(server, "edgesmith_requests_in_flight"):
        pass


# Real models and pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "wanted"), [("grace_hopper", "military uniform"), ("cat", "cat")])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_mobilenet_knows_a_photograph(
    tmp_path: Path, start_server: StartServer, name: str, wanted: str, kind: str
) -> None:
    names = [line.split(maxsplit=1)[-1] for line in beside("data/coral/imagenet_labels.txt").read_text().splitlines()]
    picture = Picture(
        input="input",
        layout="NHWC",
        width=224,
        height=224,
        resize="Crop",
        shorter_side=None,
        fill=0,
        interpolation="Bilinear",
        channels="RGB",
        scale=1.0,
        mean=(0.0,),
        deviation=(1.0,),
        labels=tuple(names),
        classification=Classification("MobilenetV2/Predictions/Softmax", "None", 1 / 256, 5),
        detection=None,
        recorded=Recorded({}, 0.0),
    )
    model = beside("data/coral/mobilenet_v2_1.0_224_quant.tflite")
    bundle = picture_bundle(tmp_path / "mobilenet", model, picture, (), "litert")
    with Image.open(beside(f"data/coral/{name}.bmp")) as image:
        body = saved(image.convert("RGB"), kind)
    server = start_server(bundle.folder)
    status, document, _ = ask(server, "/v2/models/mobilenet/image", body)
    server.stop()
    assert status == 200
    assert any(wanted in one["label"] for one in document["labels"][:2]), document["labels"]
    assert document["labels"][0]["score"] > 0.3
