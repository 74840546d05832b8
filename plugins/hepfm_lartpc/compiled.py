"""The compiler of the simulation's inner loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code, made at its first call and kept in numba's cache for later processes."""
    return cast("F", numba.njit(cache=True, error_model="numpy")(function))
