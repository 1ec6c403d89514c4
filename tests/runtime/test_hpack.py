"""Header compression, held against RFC 7541's own examples, and against bytes that are none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith_runtime.http2 import huffman
from edgesmith_runtime.http2.hpack import BlockError, Decoder, encode
from edgesmith_runtime.http2.huffman import HuffmanError, decode

PLAIN = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
CODED = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]
REQUESTS = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
RESPONSES = [
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"  # noqa: ISC003 - one of three
    + "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
]
DATES = [b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"]


def decoder(fields: int = 100, size: int = 16_384) -> Decoder:
    return Decoder(fields=fields, size=size)


@pytest.mark.parametrize("blocks", [PLAIN, CODED], ids=["C.3, plain", "C.4, coded"])
def test_the_requests_of_the_rfc(blocks: list[str]) -> None:
    reader = decoder()
    assert [reader.decode(bytes.fromhex(block)) for block in blocks] == REQUESTS
    assert [name for name, _ in reader._table] == [b"custom-key", b"cache-control", b":authority"]


def test_the_responses_of_the_rfc_which_push_each_other_out_of_the_table() -> None:
    reader = decoder()
    first = reader.decode(bytes.fromhex("3fe101") + bytes.fromhex(RESPONSES[0]))  # a table of 256 bytes, C.6
    place = (b"location", b"https://www.example.com")
    assert first == [(b":status", b"302"), (b"cache-control", b"private"), (b"date", DATES[0]), place]
    assert reader.decode(bytes.fromhex(RESPONSES[1])) == [(b":status", b"307"), *first[1:]]
    assert reader.decode(bytes.fromhex(RESPONSES[2])) == [
        (b":status", b"200"),
        first[1],
        (b"date", DATES[1]),
        place,
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ]
    assert reader._held == 215


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=8))
def test_what_is_written_is_read(fields: list[tuple[bytes, bytes]]) -> None:
    assert decoder().decode(encode(fields)) == fields


def test_what_is_known_to_all_is_written_as_a_number() -> None:
    assert encode([(b":status", b"200"), (b":method", b"POST")]) == b"\x88\x83"


BAD = {
    "index 0": b"\x80",
    "an index beyond the table": b"\xbe",
    "a name beyond the table": b"\x7f\x00\x01a",
    "a number without an end": b"\xff\x80",
    "a number over 32 bits": b"\xff" + b"\xff" * 5 + b"\x01",
    "a string beyond the end": b"\x40\x03ab",
    "no string": b"\x40",
    "a table larger than allowed": b"\x3f\xe2\x1f",
    "a table's size behind a header": b"\x82\x20",
    "a table's size three times": b"\x20\x3f\x00\x3f\x01\x82",
    "a coded string that ends with zeros": b"\x40\x81\x00\x01a",
    "a coded string with the end in it": b"\x40\x84\xff\xff\xff\xff\x01a",
    "a coded string with a byte of ones too many": b"\x40\x82\x1f\xff\x01a",
    "too many headers": b"\x82" * 101,
    "too long headers": b"\x40\x01a\x7f\xa0\x1f" + b"x" * 4127 + b"\xbe" * 4,
}


@pytest.mark.parametrize("block", BAD.values(), ids=BAD.keys())
def test_what_is_none_is_refused(block: bytes) -> None:
    with pytest.raises(BlockError):
        decoder().decode(block)


def test_an_entry_larger_than_the_table_empties_it() -> None:
    reader = decoder()
    reader.decode(b"\x40\x01a\x01b")
    reader.decode(b"\x40\x01a\x7f\xa1\x1f" + b"x" * 4128)
    assert (reader._table, reader._held) == ([], 0)
    reader.decode(b"\x40\x01a\x01b\x20\x3f\x00"[:5])
    with pytest.raises(BlockError):
        reader.decode(b"\x20\xbe")


def test_a_table_may_change_its_size_twice_in_a_block() -> None:
    assert decoder().decode(b"\x20\x3f\x01\x82") == [(b":method", b"GET")]


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes_are_read_or_refused_and_the_table_stays_within_its_bound(blocks: list[bytes]) -> None:
    reader = decoder()
    for block in blocks:
        try:
            fields = reader.decode(block)
        except BlockError:
            break
        assert len(fields) <= 100
    assert reader._held == sum(len(name) + len(value) + 32 for name, value in reader._table) <= 4096


def test_every_byte_has_its_code() -> None:
    lengths = huffman._LENGTHS
    code, length, codes = 0, 0, {}
    for symbol in sorted(range(256), key=lambda symbol: (lengths[symbol], symbol)):
        code <<= lengths[symbol] - length
        length = lengths[symbol]
        codes[symbol] = f"{code:0{length}b}"
        code += 1
    assert (length, code) == (30, 2**30 - 1), "one code is left, of ones only: the end's"
    rng = random.Random(5)  # noqa: S311 - a test that repeats itself
    for _ in range(200):
        text = rng.randbytes(rng.randint(0, 40))
        bits = "".join(codes[byte] for byte in text)
        bits += "1" * (-len(bits) % 8)
        assert decode(int(bits or "0", 2).to_bytes(len(bits) // 8, "big")) == text
    with pytest.raises(HuffmanError):
        decode(b"\xff\xff\xff\xff")
