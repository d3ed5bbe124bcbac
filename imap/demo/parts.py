"""Parts of the page as HTML: progress, notes, the report's player."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

STAGES = {  # of `Progress`, and of the engine
    "wait": "Waiting for the job before this one",
    "check": "Checking the settings",
    "encode_clip": "Encoding the clip",
    "encode_text": "Encoding the words",
    "decode": "Decoding the video",
    "read_after": "Reading the finished video",
    "write": "Writing the maps",
    "pictures": "Drawing the pictures",
    "archive": "Packing the files",
}
SAMPLING, READING = "Denoising", "Reading the maps"
# the frame gets the height of its page: one scroll bar less
FIT = (
    "const page = this.contentDocument, fit = () => { this.style.height = page.body.scrollHeight + 2 + 'px' }; "
    "new ResizeObserver(fit).observe(page.body); fit()"
)


def progress(place: tuple[str, int, int], reads: bool) -> str:
    """The bar of a job.

    Args:
        place: as of `imap.demo.job.Job`.
        reads: the steps read a clip or a finished video. Otherwise they make one.
    """
    stage, done, steps = place
    if stage != "denoise":
        return _status("busy", STAGES.get(stage, STAGES["write"]), "", "<progress></progress>")
    bar = f'<progress max="{steps}" value="{done}"></progress>'
    return _status("busy", READING if reads else SAMPLING, f"step {done} of {steps}", bar)


def waiting() -> str:
    """What is shown until a job begins."""
    return progress(("wait", 0, 0), False)


def finished(seconds: float) -> str:
    """What is shown after a job."""
    return _status("done", "Finished", f"{seconds:.1f} s")


def stopping() -> str:
    """What is shown until a job that the user has stopped ends."""
    return _status("busy", "Cancelling", "The job ends at its next step", "<progress></progress>")


def stopped() -> str:
    """What is shown after the user has stopped a job."""
    return _status("done", "Cancelled", "Results were discarded")


def refused(message: str) -> str:
    """Why a job cannot be done."""
    return f'<div class="imap-status refused" role="alert">{html.escape(message)}</div>'


def noted(notes: Sequence[str]) -> str:
    """Notes of a sample; nothing without any."""
    if not notes:
        return ""
    lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<div class="imap-notes"><b>Notes</b><ul>{lines}</ul></div>'


def overview(path: Path) -> str:
    """The overview, which plays at once. path: a file in gradio's folder."""
    return (
        f'<video class="imap-overview" src="gradio_api/file={quote(str(path))}" autoplay loop muted playsinline '
        'controls aria-label="The video, and the map of every word"></video>'
    )


def player(report: str) -> str:
    """The report page in a frame."""
    return (
        f'<iframe class="imap-player" title="Maps of every word and frame" onload="{html.escape(FIT)}" '
        f'srcdoc="{html.escape(report)}"></iframe>'
    )


def head(backbone: Mapping[str, Any]) -> str:
    """Title of the page, and what its model knows. backbone: configuration of the model."""
    words = backbone.get("words")
    known = f" It knows the words {html.escape(', '.join(words))}." if words else ""
    return (
        '<header class="imap-head"><h1>imap</h1><p class="question">When and where, in the video, is this word?</p>'
        f"<p>The model is <code>{html.escape(backbone['name'])}</code>.{known}</p></header>"
    )


def _status(kind: str, what: str, detail: str, bar: str = "") -> str:
    spans = f"<b>{html.escape(what)}</b><span>{html.escape(detail)}</span>"
    return f'<div class="imap-status {kind}" role="status"><div>{spans}</div>{bar}</div>'
