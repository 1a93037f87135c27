"""What the kernels need of the processor and numba does not offer: the bits of numbers, and reading ahead.

These become part of each kernel that uses them, in that kernel's own file, and numba's disk cache does not notice when
they change: then `rm solvers/__pycache__/*.nb*`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload


def _float_of_bits(_typing: Any, bits: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


float_of_bits: Any = intrinsic(_float_of_bits)
"""The float32 that has the bits of a uint32."""


def score_of(stored: Any) -> Any:
    """A score as float32 from what is stored: a float32, or the bits of a float16 >= 0 as uint16. For kernels."""
    return stored if isinstance(stored, np.float32) else np.uint16(stored).view(np.float16).astype(np.float32)


@overload(score_of)
def _score_of(stored: Any) -> Any:
    def single(stored: Any) -> Any:
        return stored

    def half(stored: Any) -> Any:
        return float_of_bits(np.uint32(stored) << np.uint32(13)) * np.float32(2.0**112)

    return half if stored == types.uint16 else single


def _read_ahead(_typing: Any, array: Any, index: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        parts = context.make_array(signature.args[0])(context, builder, arguments[0])
        at = context.cast(builder, arguments[1], signature.args[1], types.intp)
        byte = ir.IntType(8).as_pointer()
        address = builder.bitcast(builder.gep(parts.data, [at]), byte)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch")
        builder.call(fetch, [address, number(0), number(3), number(1)])  # to read, into the nearest cache, data
        return context.get_dummy_value()

    return types.void(array, index), build


read_ahead: Any = intrinsic(_read_ahead)
"""Asks for array[index] (contiguous, one dimension, any index) to be in the cache by the time that it is read."""
