"""The page for people: what a browser shows of it, and what it may do."""

from __future__ import annotations

import base64
import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from browser import Page, browsing
from pictures import CLASSIFIED, DETECTED, colours, jpeg, painted, picture_bundle, png, squares

from edgesmith_runtime.http.page import front_page
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

RED, BLUE = (250, 20, 20), (20, 20, 250)
ANSWERED = "document.getElementById('result').className === '' && !document.getElementById('result').hidden"
REFUSED = "!document.getElementById('error').hidden"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, start_module_server: StartServer) -> Server:
    """A model whose first class has a name that would be a script, were it taken for HTML."""
    folder = tmp_path_factory.mktemp("page")
    names = ("<img src=x onerror='window.stolen=1'>", "green", "blue")
    bundle = picture_bundle(folder / "colours", colours(folder / "colours.onnx"), CLASSIFIED, names)
    return start_module_server(bundle.folder)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory, start_module_server: StartServer) -> Server:
    folder = tmp_path_factory.mktemp("page")
    return start_module_server(picture_bundle(folder / "squares", squares(folder / "squares.onnx"), DETECTED).folder)


async def opened(page: Page, server: Server) -> None:
    await page.open(f"http://127.0.0.1:{server.http}/")
    await page.until("!document.getElementById('about').hidden && document.getElementById('curl').textContent")


def shown(page: Page) -> Any:
    return page.run("document.body.innerText")


RECTS = """(() => {
  const rows = [...document.querySelectorAll('#boxes rect[stroke]:not([stroke="#000"])')];
  return rows.map((row) => ['x', 'y', 'width', 'height'].map((name) => Number(row.getAttribute(name))));
})()"""


PLACES = "['boxes', 'picture'].map((id) => document.getElementById(id).getBoundingClientRect().toJSON())"


async def test_a_picture_that_is_chosen_has_its_boxes_drawn_into_it(boxes: Server, tmp_path: Path) -> None:
    pixels = painted(256, 128, ((64, 0, 128, 64), RED), ((160, 64, 224, 128), BLUE))
    (tmp_path / "two.jpg").write_bytes(jpeg(pixels))
    (tmp_path / "none.png").write_bytes(png(painted(64, 64)))
    (tmp_path / "bad.png").write_bytes(b"GIF89a")
    async with browsing(tmp_path / "browser") as page:
        await opened(page, boxes)
        assert "sees 64 \u00d7 64 pixels, answers boxes" in await shown(page)
        await page.choose(tmp_path / "two.jpg")
        await page.until(ANSWERED)
        text = await shown(page)
        assert "2 boxes" in text
        assert "256 \u00d7 128 JPEG" in text
        assert await page.run(RECTS) == [[64, 0, 64, 64], [160, 64, 64, 64]]
        assert await page.run("document.getElementById('boxes').getAttribute('viewBox')") == "0 0 256 128"
        # The drawing lies on the picture, to the pixel.
        await page.until("document.getElementById('picture').complete")
        drawing, picture = await page.run(PLACES)
        assert drawing == picture
        assert picture["width"] == 2 * picture["height"] > 0
        # What is refused is said, and the next picture takes its place.
        await page.choose(tmp_path / "bad.png")
        await page.until(REFUSED)
        assert "the body is a GIF file; expected a JPEG or PNG picture" in await shown(page)
        assert await page.run("document.getElementById('error').getAttribute('role')") == "alert"
        assert await page.run("document.getElementById('result').hidden")
        page.faults = [fault for fault in page.faults if "400" not in fault]
        await page.choose(tmp_path / "none.png")
        await page.until(ANSWERED)
        assert "nothing was found" in await shown(page)
        assert await page.run(RECTS) == []
        assert not await page.run("!document.getElementById('error').hidden")
        assert page.faults == []
        addresses = {address.split("/")[2] for address in page.asked if not address.startswith(("blob:", "data:"))}
        assert addresses == {f"127.0.0.1:{boxes.http}"}


PASTE = """(async () => {
  const bytes = Uint8Array.from(atob(%s), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], 'a.png', {type: 'image/png'}));
  dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried, bubbles: true}));
})()"""


async def test_a_picture_that_is_dropped_or_pasted_is_named_and_a_name_is_no_script(
    labels: Server, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(png(painted(40, 30, ((0, 0, 40, 30), RED))))
    async with browsing(tmp_path / "browser") as page:
        await opened(page, labels)
        await page.drop(tmp_path / "red.png")
        await page.until(ANSWERED)
        assert "<img src=x onerror='window.stolen=1'>" in await shown(page)
        assert await page.run("window.stolen") is None
        assert await page.run("document.querySelectorAll('#answers img').length") == 0
        first = "document.querySelector('#answers li')"
        assert float(await page.run(f"{first}.querySelector('data').value")) > 0.99
        widths = await page.run("[...document.querySelectorAll('.bar span')].map((bar) => parseFloat(bar.style.width))")
        assert widths == pytest.approx([100, 0, 0], abs=1)
        body = base64.b64encode(png(painted(40, 30, ((0, 0, 40, 30), BLUE)))).decode()
        await page.run(PASTE % json.dumps(body))
        await page.until(f"{ANSWERED} && {first} && {first}.innerText.includes('blue')")
        assert page.faults == []


async def test_it_works_from_the_keyboard_at_320_pixels_in_light_and_dark(labels: Server, tmp_path: Path) -> None:
    (tmp_path / "wide.png").write_bytes(png(painted(2000, 40, ((0, 0, 2000, 40), BLUE))))
    async with browsing(tmp_path / "browser") as page:
        for dark in (False, True):
            await page.look(320, 800, dark=dark)
            await opened(page, labels)
            await page.press("Tab")
            assert await page.run("document.activeElement.id") == "file"
            assert await page.run("getComputedStyle(document.getElementById('zone')).outlineStyle") == "solid"
            await page.choose(tmp_path / "wide.png")
            await page.until(ANSWERED)
            assert await page.run("document.documentElement.scrollWidth") <= 320
            pairs = await page.run(CONTRASTS)
            assert len(pairs) >= 6
            for text, ratio in pairs:
                assert ratio >= 4.5, f"{text!r} has a contrast of {ratio:.2f} in {'dark' if dark else 'light'}"
            ground = await page.run("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 128) is dark
        # Everything that is focused has a name for those who cannot see it.
        assert await page.run("document.getElementById('file').labels[0].innerText.length") > 10
        assert await page.run("document.documentElement.lang") == "en"
        assert await page.run("document.getElementById('picture').alt.length") > 10


CONTRASTS = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((one) => {
      const share = one / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (of) => {
    for (let at = of; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.endsWith(', 0)')) return light(colour);
    }
  };
  const seen = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility()
    && [...one.childNodes].some((inner) => inner.nodeType === 3 && inner.data.trim()) && one.tagName !== 'SCRIPT');
  return seen.map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), ground(one)].sort((x, y) => y - x);
    return [one.innerText.slice(0, 40), (a + 0.05) / (b + 0.05)];
  });
})()"""
"""Each visible text with its contrast by WCAG 2.2."""


async def test_of_a_model_that_takes_tensors_it_shows_those(toy_server: Server, tmp_path: Path) -> None:
    async with browsing(tmp_path / "browser") as page:
        await opened(page, toy_server)
        text = await shown(page)
        for words in ("This model takes tensors", "spec.picture", "input x", "FP32", "any \u00d7 4", "output softmax"):
            assert words in text
        assert not await page.run("document.getElementById('zone').checkVisibility()")
        command = await page.run("document.getElementById('curl').textContent")
        assert f"http://127.0.0.1:{toy_server.http}/v2/models/toy/infer" in command
        asked = json.loads(command.partition("-d '")[2].removesuffix("'"))
        assert [(one["name"], one["datatype"], one["shape"]) for one in asked["inputs"]] == [("x", "FP32", [1, 4])]
        # A script that somebody else put there does not run, and nothing is fetched from elsewhere.
        await page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'x = 1'}))")
        await page.run("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/a.png'}))")
        assert await page.run("typeof x") == "undefined"
        await page.run("fetch('http://127.0.0.1:9/').catch(() => 0)")
        await page.faulty(4)  # the first is that there is no declaration to be had
        assert sum("Content Security Policy" in fault for fault in page.faults) >= 3


LATE = """
import os, sys, time
from edgesmith_runtime import serve
from edgesmith_runtime.cli import main

loads, here = serve.load, sys.argv[sys.argv.index("--notes") + 1]

def load(*given, **named):
    while not os.path.exists(os.path.join(here, "go")):
        time.sleep(0.01)
    return loads(*given, **named)

serve.load = load
sys.exit(main(sys.argv[1:]))
"""
"""A server whose model takes as long to load as a test wants."""


async def test_while_the_model_is_loaded_it_says_so_and_tries_again_by_itself(
    toy: Bundle, start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    server = start_server(toy.folder, "--notes", str(tmp_path / "notes"), program=LATE, ready=False)
    async with browsing(tmp_path / "browser") as page:
        await page.open(f"http://127.0.0.1:{server.http}/")
        await page.until("!document.getElementById('loading').hidden")
        assert "The model is being loaded" in await shown(page)
        (tmp_path / "notes" / "go").touch()
        await page.until("document.title === 'toy' && !document.getElementById('about').hidden")
        assert await page.run("document.getElementById('loading').hidden")
    server.stop()


def test_its_headers_name_what_may_run(toy_server: Server) -> None:
    for method, length in (("GET", 1000), ("HEAD", 0)):
        connection = HTTPConnection("127.0.0.1", toy_server.http, timeout=PATIENCE)
        connection.request(method, "/")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/html; charset=utf-8")
        assert len(text) >= length
        policy = answer.getheader("content-security-policy") or ""
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.getheader("x-content-type-options") == "nosniff"


def test_before_the_model_is_loaded_it_says_so_and_names_none() -> None:
    text = bytes(front_page("").parts[0]).decode()
    assert '<meta name="model" content="">' in text
    assert "is being loaded" in text
    assert '<meta name="model" content="a-1">' in bytes(front_page("a-1").parts[0]).decode()


def test_nothing_in_it_comes_from_elsewhere() -> None:
    text = bytes(front_page("a").parts[0]).decode()
    assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("{origin}", "")
    assert len(text) < 16_000
    assert [tag for tag in ('rel="stylesheet', 'src="', "@import", "url(") if tag in text] == []
