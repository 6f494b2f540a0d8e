"""Reader of dlib's binary serialisation: the integers, floats, strings and tensors that its networks are stored as.

Format: dlib/serialize.h, dlib/float_details.h and dlib/cuda/tensor.h (Boost licence). Nothing in a file is trusted: a count is
compared with the bytes that are left before anything is allocated, and every refusal names the offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import WeightsError

_NEGATIVE, _LENGTH = 0x80, 0x0F  # bits of the control byte in front of an integer
_LONGEST_INTEGER = 8  # bytes
_SPECIAL_EXPONENT = 32_000  # from here on an exponent means infinity or not-a-number (float_details.h)
_LARGEST_EXPONENT = 1024  # of a float64; more cannot come from a float of C++
_LONGEST_TAG = 64  # characters; the longest name that dlib gives to a layer has fewer than 40
_FLOAT_BYTES = 4
_TENSOR_VERSION, _ALIAS_VERSION = 2, 1

Shape = tuple[int, int, int, int]
"""Of a dlib tensor: samples, channels, rows, columns."""


@dataclass(slots=True)
class Reader:
    """Reads one value after the other from the content of a file.

    Every method advances `position` by what it read and raises WeightsError if the bytes are not such a value, or end too soon.

    Attributes:
        content: the whole file.
        position: offset of the next byte.
    """

    content: bytes
    position: int = 0

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return len(self.content) - self.position

    def refuse(self, got: str, expected: str) -> WeightsError:
        """The error for a value that breaks the format, with the offset behind it."""
        return WeightsError(
            f"dlib file, before byte {self.position} of {len(self.content)}: got {got}, expected {expected}; the file is truncated,"
            " damaged or holds another network"
        )

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            raise self.refuse(f"the end of the file ({self.left} bytes are left)", f"{count} bytes more")
        self.position += count
        return self.content[self.position - count : self.position]

    def integer(self) -> int:
        """A control byte (sign, length), then the magnitude, little endian."""
        control = self.take(1)[0]
        length = control & _LENGTH
        if control & ~(_NEGATIVE | _LENGTH) or not 1 <= length <= _LONGEST_INTEGER:
            raise self.refuse(f"control byte 0x{control:02x}", "an integer of 1 to 8 bytes")
        magnitude = int.from_bytes(self.take(length), "little")
        return -magnitude if control & _NEGATIVE else magnitude

    def expect(self, value: int, what: str) -> None:
        """An integer that can only be `value`."""
        got = self.integer()
        if got != value:
            raise self.refuse(f"{what} {got}", str(value))

    def version(self, known: tuple[int, ...], what: str) -> int:
        """The version of a part of the format; one of `known`."""
        got = self.integer()
        if got not in known:
            raise self.refuse(f"version {got} of {what}", " or ".join(map(str, known)))
        return got

    def number(self) -> float:
        """A finite float: mantissa and exponent of two, both integers."""
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= _SPECIAL_EXPONENT or abs(exponent) > 2 * _LARGEST_EXPONENT:
            raise self.refuse(f"a float with exponent {exponent}", "a finite float")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            raise self.refuse(f"a float of {mantissa} * 2^{exponent}", "a finite float") from None

    def flag(self) -> bool:
        """The character 0 or 1."""
        byte = self.take(1)
        if byte not in (b"0", b"1"):
            raise self.refuse(f"byte 0x{byte[0]:02x}", "a flag (character 0 or 1)")
        return byte == b"1"

    def tag(self, expected: str) -> None:
        """The name of a layer, which tells its kind and the version of its format."""
        length = self.integer()
        if not 0 <= length <= _LONGEST_TAG:
            raise self.refuse(f"a name of {length} characters", repr(expected))
        got = self.take(length).decode("ascii", errors="replace")
        if got != expected:
            raise self.refuse(repr(got), repr(expected))

    def tensor(self, expected: Shape) -> npt.NDArray[np.float32]:
        """Sizes, which must be the expected ones, then raw little-endian float32 values, which must be finite."""
        self.version((_TENSOR_VERSION,), "a tensor")
        self._shape(expected)
        values = np.frombuffer(self.take(math.prod(expected) * _FLOAT_BYTES), "<f4").reshape(expected)
        if not np.isfinite(values).all():
            raise self.refuse("a weight that is infinite or not a number", "finite weights")
        return values.astype(np.float32)

    def skip_tensor(self) -> None:
        """A tensor of any size that nobody needs."""
        self.version((_TENSOR_VERSION,), "a tensor")
        shape = [self.integer() for _ in range(4)]
        if min(shape) < 0:
            raise self.refuse(f"a tensor of {shape}", "sizes of 0 or more")
        self.take(math.prod(shape) * _FLOAT_BYTES)

    def alias(self, expected: Shape) -> None:
        """The shape of a view into a tensor that was read before."""
        self.version((_ALIAS_VERSION,), "a view of a tensor")
        self._shape(expected)

    def end(self) -> None:
        """Nothing may follow."""
        if self.left:
            raise self.refuse(f"{self.left} bytes more", "the end of the file")

    def _shape(self, expected: Shape) -> None:
        shape = (self.integer(), self.integer(), self.integer(), self.integer())
        if shape != expected:
            raise self.refuse(f"a tensor of {shape}", f"one of {expected}")
