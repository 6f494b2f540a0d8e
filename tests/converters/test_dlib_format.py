from __future__ import annotations

import math

import dlib_files as dat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.converters.dlib_format import Reader
from auto_annotator.errors import WeightsError

EMPTY = (0, 0, 0, 0)


@given(st.integers(-(2**64) + 1, 2**64 - 1))
def test_integers_come_back(value):
    reader = Reader(dat.integer(value))
    assert reader.integer() == value
    reader.end()


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_floats_come_back(value):
    reader = Reader(dat.number(value))
    assert reader.number() == value
    reader.end()


def test_the_bytes_are_those_of_dlib():
    """Taken from dlib's own files: 0.04 and 0.6 as float, 128, -1."""
    reader = Reader(bytes.fromhex("030ad7a3 811c 039a9999 8118 0180 8101"))
    values = [reader.number(), reader.number(), reader.integer(), reader.integer()]
    assert values == [pytest.approx(0.04), pytest.approx(0.6), 128, -1]


def test_text_flags_and_tensors_come_back():
    values = np.arange(6, dtype=np.float32)
    content = dat.text("con_4") + b"10" + dat.tensor(values, (1, 2, 3, 1)) + dat.tensor([], EMPTY) + dat.alias((1, 2, 3, 4))
    reader = Reader(content)
    reader.tag("con_4")
    assert [reader.flag(), reader.flag()] == [True, False]
    np.testing.assert_array_equal(reader.tensor((1, 2, 3, 1)), values.reshape(1, 2, 3, 1))
    reader.skip_tensor()
    reader.alias((1, 2, 3, 4))
    reader.end()


@pytest.mark.parametrize(
    ("content", "read", "message"),
    [
        (b"", "integer", r"byte 0 of 0: got the end of the file \(0 bytes are left\), expected 1 bytes more"),
        (b"\x00", "integer", "got control byte 0x00, expected an integer of 1 to 8 bytes"),
        (b"\x09" + bytes(9), "integer", "got control byte 0x09"),
        (b"\x41\x01", "integer", "got control byte 0x41"),  # reserved bits
        (b"\x04\x01\x02", "integer", r"got the end of the file \(2 bytes are left\), expected 4 bytes more"),
        (dat.integer(0) + dat.integer(32_000), "number", "got a float with exponent 32000, expected a finite float"),
        (dat.integer(0) + dat.integer(32_002), "number", "exponent 32002"),
        (dat.integer(1) + dat.integer(-(2**63)), "number", "exponent -9223372036854775808"),
        (dat.integer(2**60) + dat.integer(1000), "number", r"2\^1000"),
        (b"2", "flag", "got byte 0x32, expected a flag"),
        (b"1", "end", "got 1 bytes more, expected the end of the file"),
        (dat.integer(3) + dat.sizes(EMPTY), "skip_tensor", "got version 3 of a tensor, expected 2"),
        (dat.integer(2) + dat.sizes((1, -1, 1, 1)), "skip_tensor", "expected sizes of 0 or more"),
        (dat.integer(2) + dat.sizes((2**62,) * 4), "skip_tensor", "got the end of the file"),
    ],
)
def test_what_breaks_the_format_is_refused_with_its_place(content, read, message):
    with pytest.raises(WeightsError, match=message):
        getattr(Reader(content), read)()


def test_an_enormous_name_or_tensor_is_refused_before_anything_is_allocated():
    with pytest.raises(WeightsError, match=r"got a name of 1152921504606846976 characters, expected 'con_4'"):
        Reader(dat.integer(2**60) + b"con_4").tag("con_4")
    with pytest.raises(WeightsError, match=r"got a tensor of \(1099511627776, 1, 1, 1\), expected one of \(2, 1, 1, 1\)"):
        Reader(dat.integer(2) + dat.sizes((2**40, 1, 1, 1))).tensor((2, 1, 1, 1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(value):
    with pytest.raises(WeightsError, match="got a weight that is infinite or not a number"):
        Reader(dat.tensor([0, value], (2, 1, 1, 1))).tensor((2, 1, 1, 1))


@given(st.binary(max_size=60), st.sampled_from(["integer", "number", "flag", "skip_tensor", "end"]))
def test_any_bytes_give_a_value_or_a_clear_error_and_never_a_read_beyond_the_end(content, read):
    reader = Reader(content)
    try:
        getattr(reader, read)()
    except WeightsError as error:
        assert "expected" in str(error)
    assert 0 <= reader.position <= len(content)
