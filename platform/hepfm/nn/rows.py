"""Moving rows from one arrangement to another, when the way back is known.

Legend of shapes: N rows before, R rows after, C width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class RowMap:
    """Rows of one arrangement in another: those without a source are zero.

    Attributes:
        source: ``(R,)`` old row of each new row.
        empty: New rows that have no old row (their ``source`` is 0).
        target: ``(N,)`` new row of each old row.
        unused: Old rows that have no new row (their ``target`` is 0).
    """

    source: Tensor
    empty: Tensor
    target: Tensor
    unused: Tensor

    def inverse(self) -> RowMap:
        """The way back."""
        return RowMap(self.target, self.unused, self.source, self.empty)


def move_rows(x: Tensor, rows: RowMap) -> Tensor:
    """``(R, C)`` from ``x (N, C)``, neither N nor R zero."""
    moved: Tensor = _MoveRows.apply(x, rows)  # type: ignore[no-untyped-call]
    return moved


class _MoveRows(Function):
    # The backward pass reads rows like the forward one; torch's own would add them into zeros.

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: RowMap) -> Tensor:
        ctx.rows = rows
        return x.index_select(0, rows.source).index_fill_(0, rows.empty, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.rows.target).index_fill_(0, ctx.rows.unused, 0), None
