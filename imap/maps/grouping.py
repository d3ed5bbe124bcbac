"""How many heads are worked on at once: what bounds memory for 48 heads, or for 512 text slots."""

WORKING_SET = 96 * 2**20  # bytes of float32 that one group of heads may take


def head_groups(heads: int, tokens: int, slots: int, width: int) -> list[slice]:
    """Groups of heads whose visual features and text maps fit the working set together."""
    per_head = 4 * tokens * (2 * width + 3 * slots)
    size = max(1, WORKING_SET // per_head)
    return [slice(start, min(start + size, heads)) for start in range(0, heads, size)]
