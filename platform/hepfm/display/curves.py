"""Curves over steps: thinned so that spikes stay, and drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

Curve = tuple[Sequence[int], Sequence[float]]
"""Steps in rising order, and the value at each."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Unicode's braille patterns: the bit of the dot at (row, column) of a character."""
_LOG_FROM = 20.0
"""Largest over smallest value from which on the terminal's axis is logarithmic."""


def thin(curve: Curve, buckets: int) -> tuple[list[int], list[float]]:
    """At most about three points for each of so many equal ranges of steps.

    Of each range: its smallest and its largest value, where they are; and one point that is NaN, where it
    holds any value that is not finite. A curve that has no more points than that stays as it is, with NaN for
    what is not finite.
    """
    steps, values = curve
    if len(steps) <= 2 * buckets:
        return list(steps), [value if math.isfinite(value) else math.nan for value in values]
    low, span = steps[0], steps[-1] - steps[0] + 1
    kept: list[int] = []
    first = 0
    while first < len(steps):
        bucket = (steps[first] - low) * buckets // span
        end = first
        while end < len(steps) and (steps[end] - low) * buckets // span == bucket:
            end += 1
        finite = [i for i in range(first, end) if math.isfinite(values[i])]
        chosen = (
            {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)} if finite else set()
        )
        if len(finite) < end - first:
            chosen.add(next(i for i in range(first, end) if not math.isfinite(values[i])))
        kept += sorted(chosen)
        first = end
    return [steps[i] for i in kept], [values[i] if math.isfinite(values[i]) else math.nan for i in kept]


def draw(
    title: str, curves: Sequence[Curve], styles: Sequence[str], *, width: int = 72, height: int = 9
) -> Text | None:
    """Curves in one frame of characters, each with its letter (A, B, ...) at its end.

    Args:
        title: Above the frame.
        curves: May be of different lengths, and empty.
        styles: A colour of rich for each.
        width: Characters, with the labels at the left.
        height: Lines of the frame.

    Returns:
        The picture; None where no curve has a finite value.
    """
    finite = [(s, v) for curve in curves for s, v in zip(*curve, strict=True) if math.isfinite(v)]
    if not finite:
        return None
    low, high = min(v for _, v in finite), max(v for _, v in finite)
    log = low > 0 and high / low > _LOG_FROM
    scaled = math.log if log else float
    bottom, span = scaled(low), scaled(high) - scaled(low) or 1.0
    start, end = min(s for s, _ in finite), max(s for s, _ in finite)
    labels = [f"{high:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels))
    columns = max(16, width - margin - 4)

    bits = [[0] * columns for _ in range(height)]
    letters: dict[tuple[int, int], str] = {}
    colour: dict[tuple[int, int], str] = {}
    for i, (curve, style) in enumerate(zip(curves, styles, strict=True)):
        before: tuple[int, int] | None = None
        for step, value in zip(*thin(curve, columns), strict=True):
            if not math.isfinite(value):
                before = None
                continue
            x = round((step - start) / max(end - start, 1) * (2 * columns - 1))
            y = round((1 - (scaled(value) - bottom) / span) * (4 * height - 1))
            for at_x, at_y in _line(before or (x, y), (x, y)):
                cell = at_y // 4, at_x // 2
                bits[cell[0]][cell[1]] |= _DOTS[at_y % 4][at_x % 2]
                colour[cell] = style
            before = x, y
        if before:
            row, column = before[1] // 4, before[0] // 2 + 1
            while (row, column) in letters:
                column += 1
            letters[row, column] = chr(ord("A") + i % 26)
            colour[row, column] = style

    drawn = Text(f"{title}{'  (logarithmic)' if log else ''}\n", no_wrap=True, overflow="crop")
    for row in range(height):
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        drawn.append(f"{label:>{margin}} │", "dim")
        for column in range(columns + 1 + len(curves)):
            dots = bits[row][column] if column < columns else 0
            character = letters.get((row, column)) or (chr(0x2800 + dots) if dots else " ")
            drawn.append(character, colour.get((row, column), ""))
        drawn.append("\n")
    drawn.append(f"{'':>{margin}} └{'─' * columns}\n", "dim")
    drawn.append(f"{'':>{margin}}  {f'step {start}':<{columns - len(str(end))}}{end}", "dim")
    return drawn


def _line(a: tuple[int, int], b: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line between two dots, both included."""
    count = max(abs(b[0] - a[0]), abs(b[1] - a[1]), 1)
    for i in range(count + 1):
        yield round(a[0] + (b[0] - a[0]) * i / count), round(a[1] + (b[1] - a[1]) * i / count)
