"""Medians with their spread, and tables of them."""

import statistics


def spread(values):
    """Median, lowest and highest."""
    values = list(values)
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def ranged(figure, digits):
    """`19.40 (19.12 to 19.61)`; one value alone where there was one round."""
    numbers = [f"{figure[name]:.{digits}f}" for name in ("median", "lowest", "highest")]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})" if figure["lowest"] != figure["highest"] else numbers[0]


def ratios(above, below):
    """Spread of the quotients of two lists, round by round: other work on the machine slows both of a round alike."""
    return spread(a / b for a, b in zip(above, below, strict=True))


def mib(count):
    return f"{count / 2**20:.0f}"


def table(heads, rows):
    """Markdown, padded so that it can be read as it is."""
    cells = [[str(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
