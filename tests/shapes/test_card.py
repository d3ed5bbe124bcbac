"""A model's card lists the gates of its weights, met or not."""

from imap.shapes.training.caption_sensitivity import LEVELS
from imap.shapes.training.card import gate_table, with_maps


def test_the_card_lists_gates_as_met_or_not():
    sensitivity = {"wrong verbs": dict(zip(LEVELS, (9, 9, 9, 0.05, 0.1, 0.18, 9), strict=True))}
    assert gate_table(sensitivity, {"present": 0.8, "follows the caption": 0.79}).splitlines()[2:] == [
        "| wrong verbs: rise of the loss at t = 800 to 900 | 0.10 | 0.11 |",
        "| objects present | 80% | 80% |",
        "| objects follow the caption | 80% | 79%, not met |",
    ]


def test_the_section_on_maps_precedes_the_settings_and_replaces_an_earlier_one():
    first = with_maps("# A\n\n## What\n\nx\n\n## Settings\n\ny\n", "| a |", r"note \1:")
    assert first == "# A\n\n## What\n\nx\n\n## Maps\n\nnote \\1:\n\n| a |\n\n## Settings\n\ny\n"
    assert with_maps(first, "| b |", "again:") == first.replace("note \\1:\n\n| a |", "again:\n\n| b |")
