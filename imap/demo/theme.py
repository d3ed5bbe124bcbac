"""The look of the page: colours of the report, fonts of the system."""

from pathlib import Path

import gradio as gr  # pyright: ignore[reportMissingImports] (an extra)

CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
HEAD = '<meta name="color-scheme" content="light dark">'
SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
FIXED = ("ui-monospace", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Colours of the report page, light and dark. No font is loaded."""
    base = gr.themes.Base(primary_hue="red", neutral_hue="slate", font=SYSTEM, font_mono=FIXED, radius_size="md")
    return base.set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#14171b",
        body_text_color="#1d2126",
        body_text_color_dark="#e6e9ed",
        body_text_color_subdued="#626b76",
        body_text_color_subdued_dark="#98a1ad",
        background_fill_primary="#fff",
        background_fill_primary_dark="#1c2026",
        background_fill_secondary="#f6f7f9",
        background_fill_secondary_dark="#14171b",
        block_background_fill="#fff",
        block_background_fill_dark="#1c2026",
        block_border_width="1px",
        block_border_color="#dde1e6",
        block_border_color_dark="#333a43",
        border_color_primary="#dde1e6",
        border_color_primary_dark="#333a43",
        input_background_fill="#fff",
        input_background_fill_dark="#14171b",
        input_border_width="1px",
        input_border_color="#c3c9d1",
        input_border_color_dark="#465059",
        checkbox_background_color_selected="#b3322a",
        checkbox_background_color_selected_dark="#ff8a6b",
        checkbox_border_color_selected="#b3322a",
        checkbox_border_color_selected_dark="#ff8a6b",
        button_primary_background_fill="#b3322a",
        button_primary_background_fill_hover="#98271f",
        button_primary_background_fill_dark="#ff8a6b",
        button_primary_background_fill_hover_dark="#ffa58d",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_primary_text_color="#fff",
        button_primary_text_color_dark="#14171b",
    )
