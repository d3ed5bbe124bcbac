"""Extension of griffe: nested indices in docstrings, such as [layer][step], are code and not links."""

import re
from typing import Any

import griffe


class NestedIndices(griffe.Extension):
    """Put nested indices of docstrings in backticks. Markdown takes `[a][b]` for a link to b."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every object that it has read."""
        if obj.docstring:
            obj.docstring.value = literal_indices(obj.docstring.value)


def literal_indices(text: str) -> str:
    """The text with `[a][b]` in backticks, where it is not in backticks already."""
    return re.sub(r"(?<![`\w])((?:\[\w+\]){2,})(?!`)", r"`\1`", text)
