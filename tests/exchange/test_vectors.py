"""The base64 codec of vectors: exact round trips, and every way to be wrong has its message."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.exchange.vectors import CHUNK, VectorError, check_rows, decode_vectors, encode_vector, encode_vectors


def units(n: int, d: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def text_of(values) -> str:
    return base64.b64encode(np.asarray(values, "<f2").tobytes()).decode()


@given(n=st.integers(0, 9), d=st.integers(1, 600), seed=st.integers(0, 99))
def test_round_trip_keeps_cosines(n, d, seed):
    rows = units(n, d, seed)
    back = decode_vectors(encode_vectors(rows), n, d)
    assert back.dtype == np.float32 and back.shape == (n, d)
    assert np.abs(np.linalg.norm(back, axis=1) - 1).max(initial=0) < 1e-6
    assert np.abs((back * rows).sum(axis=1) - 1).max(initial=0) < 1e-5


def test_a_second_round_trip_changes_nothing():
    once = decode_vectors(encode_vectors(units(5, 128)), 5, 128)
    assert np.abs(decode_vectors(encode_vectors(once), 5, 128) - once).max() < 1e-4


def test_one_row_is_the_same_as_a_matrix_of_one():
    row = units(1, 128)[0]
    assert encode_vector(row) == encode_vectors(row[None])
    assert decode_vectors(encode_vector(row).encode(), 1, 128).shape == (1, 128)


def test_a_face_without_a_descriptor_stays_zeros():
    assert not decode_vectors(encode_vector(np.zeros(8)), 1, 8).any()


def test_the_form_is_little_endian_half_precision():
    assert encode_vector(np.array([1.0, 0.0])) == base64.b64encode(b"\x00\x3c\x00\x00").decode()


@pytest.mark.parametrize(
    ("text", "count", "dimension", "message"),
    [
        ("!" * 8, 1, 3, "not base64"),
        ("AAA\n", 1, 1, "not base64"),
        ("AA==" + "AAAA", 1, 3, "not base64|got . bytes"),
        (text_of([1, 0]), 2, 2, r"expected 8 \(2 x 2 float16\)"),
        (text_of([1, 0, 0]), 1, 2, r"expected 4 \(1 x 2 float16\)"),
        (text_of([np.nan, 0]), 1, 2, "row 0 has numbers that are not finite"),
        (text_of([1, 0, np.inf, 0]), 2, 2, "row 1 has numbers that are not finite"),
        (text_of([1, 0, 3, 4]), 2, 2, "row 1 has length 5, expected unit length"),
        (text_of([0.5, 0]), 1, 2, "row 0 has length 0.5"),
        ("", -1, 2, "got -1 x 2"),
        ("", 1, 0, "got 1 x 0"),
        ("", 1, 10**9, "got 1 x 1000000000"),
        ("", 1, 2, "about 0 bytes, expected 4"),
        ("\u00e9" * 8, 1, 3, "not base64"),
    ],
)
def test_what_is_wrong_is_said(text, count, dimension, message):
    with pytest.raises(VectorError, match=message):
        decode_vectors(text, count, dimension)


@pytest.mark.parametrize("row", [np.full(4, np.nan), np.ones(4), np.ones((2, 2, 1))])
def test_a_wrong_vector_is_not_written(row):
    with pytest.raises(VectorError):
        encode_vector(row)


def test_a_wrong_row_far_down_is_found():
    rows = np.zeros((CHUNK + 3, 2), np.float16)
    rows[CHUNK + 1] = 2
    with pytest.raises(VectorError, match=f"row {CHUNK + 1} "):
        check_rows(rows)
