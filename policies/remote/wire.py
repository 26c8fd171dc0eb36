"""How messages look on the wire: MessagePack, with numpy arrays as maps of their bytes, dtype and shape.

The format of openpi's `msgpack_numpy` (Physical-Intelligence/openpi 15a9616, packages/openpi-client), which its clients
and servers share: an array is `{b"__ndarray__": True, b"data", b"dtype", b"shape"}`, a numpy scalar
`{b"__npgeneric__": True, b"data", b"dtype"}`, dtypes as numpy's `dtype.str`. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

KINDS = "biuf"
"""Kinds of numpy types that may travel: booleans, integers, floating-point numbers."""


class WireError(ValueError):
    """A message that cannot be read, or is not what the protocol asks for."""


def pack(message: Any) -> bytes:
    """The bytes of a message; raises `WireError` for what the format has no place for."""
    try:
        return msgpack.packb(message, default=_packed)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"this message cannot be sent: {error}") from error


def unpack(data: bytes) -> dict[str, Any]:
    """The message of the bytes, its arrays read-only; raises `WireError` unless it is a map."""
    try:
        message = msgpack.unpackb(data, object_hook=_unpacked)
    except WireError:
        raise
    except Exception as error:  # msgpack raises some ten kinds of its own and others' for broken bytes
        raise WireError(f"{len(data)} bytes are not a MessagePack message: {type(error).__name__} {error}") from error
    if not isinstance(message, dict):
        raise WireError(f"a message is a map, got {type(message).__name__}")
    return message


def plain(value: Any) -> Any:
    """The value as JSON knows it: arrays become lists, keys become text."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in KINDS:
            raise WireError(f"arrays of {value.dtype} cannot be sent")
        if isinstance(value, np.ndarray):
            return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{type(value).__name__} has no place in a message")


def _unpacked(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        dtype, shape, data = _dtype(value), value.get(b"shape"), value.get(b"data")
        sizes = isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape)
        if not sizes or not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
            raise WireError(f"an array of {dtype} and shape {shape} does not have "
                            f"{len(data) if isinstance(data, bytes) else data!r} bytes")
        return np.frombuffer(data, dtype).reshape(shape)
    if b"__npgeneric__" in value:
        return _dtype(value).type(value.get(b"data"))
    return value


def _dtype(value: dict[Any, Any]) -> np.dtype:
    name = value.get(b"dtype")
    try:
        dtype = np.dtype(name if isinstance(name, str) else None)
    except TypeError as error:
        raise WireError(f"unknown array type {name!r}") from error
    if not isinstance(name, str) or dtype.kind not in KINDS:
        raise WireError(f"arrays of type {name!r} are not accepted; legal are booleans, integers and floats")
    return dtype
