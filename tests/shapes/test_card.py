"""A model's card tells what the weights are held to, met or not."""

from imap.shapes.training.caption_sensitivity import LEVELS
from imap.shapes.training.card import gate_table, with_maps


def test_gates_are_told_met_or_not():
    gap = {"wrong verbs": dict(zip(LEVELS, (9, 9, 9, 0.05, 0.1, 0.18, 9), strict=True))}
    assert gate_table(gap, {"present": 0.8, "obeys": 0.79}).splitlines()[2:] == [
        "| wrong verbs: rise of the loss at t = 800 to 900 | 0.10 | 0.11 |",
        "| captions: colours present | 80% | 80% |",
        "| captions: done as told | 80% | 79%, not met |",
    ]


def test_maps_come_before_the_settings_and_replace_earlier_ones():
    first = with_maps("# A\n\n## What\n\nx\n\n## Settings\n\ny\n", "| a |", r"told \1:")
    assert first == "# A\n\n## What\n\nx\n\n## Maps\n\ntold \\1:\n\n| a |\n\n## Settings\n\ny\n"
    assert with_maps(first, "| b |", "again:") == first.replace("told \\1:\n\n| a |", "again:\n\n| b |")
