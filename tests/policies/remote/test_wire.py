from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from openpi_client import msgpack_numpy

from policies.remote.wire import WireError, pack, plain, unpack

ARRAYS = npst.arrays(st.sampled_from(["u1", "i8", "f4", "f8", "?"]),
                     npst.array_shapes(min_dims=0, max_dims=3, min_side=0))


def equal(one: Mapping, other: Mapping) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key], equal_nan=one[key].dtype.kind == "f")
        and one[key].dtype == other[key].dtype for key in one)


@given(st.dictionaries(st.text(max_size=5), ARRAYS, max_size=3))
def test_openpi_s_client_reads_what_we_write_and_we_read_what_it_writes(message):
    assert equal(msgpack_numpy.unpackb(pack(message)), message)
    assert equal(unpack(msgpack_numpy.packb(message)), message)


@given(st.binary(max_size=60))
def test_no_bytes_at_all_break_the_reader_otherwise_than_by_its_own_error(data):
    try:
        assert isinstance(unpack(data), dict)
    except WireError:
        pass


@pytest.mark.parametrize(("changes", "reason"), [
    ({b"dtype": "|O"}, "are not accepted"), ({b"dtype": "nonsense"}, "unknown array type"), ({b"dtype": 3}, "type 3"),
    ({b"shape": [2, 9]}, "does not have 8 bytes"), ({b"shape": [-1]}, "does not have"), ({b"data": "text"}, "have"),
    ({b"shape": None}, "does not have"),
])
def test_an_array_that_does_not_fit_its_bytes_is_refused_with_a_reason(changes, reason):
    array = {b"__ndarray__": True, b"data": b"12345678", b"dtype": "<f4", b"shape": [2]}
    with pytest.raises(WireError, match=reason):
        unpack(msgpack.packb({"a": {**array, **changes}}))


def test_objects_are_never_packed_and_lists_are_no_message():
    with pytest.raises(WireError, match="cannot be sent"):
        pack({"a": np.array([object()])})
    with pytest.raises(WireError, match="cannot be sent"):
        pack({"a": sys})
    with pytest.raises(WireError, match="a message is a map, got list"):
        unpack(msgpack.packb([1]))


def test_metadata_of_any_kind_become_json():
    said = {"pose": np.float32([1, 2]), b"key": (np.int64(3), float("nan")), "other": object}
    assert json.loads(json.dumps(plain(said), allow_nan=False))["pose"] == [1.0, 2.0]
