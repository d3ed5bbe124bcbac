"""The page: a form, the progress of its job, and the maps."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingImports] (an extra)

from imap.demo import form, parts
from imap.demo.engine import TICK, Engine, Form, Result
from imap.demo.job import Job, Stopped
from imap.demo.theme import CSS, HEAD, theme
from imap.errors import ImapError, one_line

log = logging.getLogger("imap")
UPLOAD = "500mb"  # the largest clip
Update = dict[Any, Any]  # of components


class Page(gr.Blocks):
    """The page. `launch` serves it with its own look.

    Attributes:
        engine: the pipeline and its jobs.
        jobs: those that run or wait.
        cancelled: sessions whose jobs are to end.
    """

    def __init__(self, engine: Engine) -> None:
        # files are deleted when they are an hour old; those of jobs, when there are newer ones
        super().__init__(title="imap", delete_cache=(600, 3600))
        self.engine = engine
        self.jobs: set[Job[Result]] = set()
        self.cancelled: set[str | None] = set()

    def launch(self, *arguments: Any, **options: Any) -> Any:
        """Serve the page. Arguments as of `gradio.Blocks.launch`."""
        look = {"theme": theme(), "css": CSS, "head": HEAD, "footer_links": []}
        own = {"share": False, "ssr_mode": False, "max_file_size": UPLOAD}
        return super().launch(*arguments, **{**look, **own, **options})

    def run(self, filled: Form, session: str | None) -> Iterator[Job[Result]]:
        """Do a job of a session: yields it until it has ended. A generator that is closed before stops its job."""
        job = Job(lambda progress: self.engine.run(filled, progress))
        self.jobs.add(job)
        try:
            while not job.ended(TICK):
                if session in self.cancelled:
                    job.stop()
                yield job
            yield job
        finally:
            job.stop()
            self.jobs.discard(job)

    def end(self) -> None:
        """Stop serving, stop all jobs at their next step, and remove all results."""
        jobs = list(self.jobs)
        for job in jobs:
            job.stop()
        self.close(verbose=False)
        for job in jobs:
            job.thread.join(10)
        self.engine.close()


def build(engine: Engine) -> Page:
    """The page of a loaded pipeline."""
    with Page(engine) as page:
        gr.HTML(parts.head(engine.backbone), elem_id="head")
        with gr.Row(elem_id="form"):
            with gr.Column(scale=3, min_width=320):
                inputs = form.words_and_clip(engine)
            with gr.Column(scale=2, min_width=280):
                form.example_buttons(engine, inputs)
                inputs |= form.settings(engine, inputs["mode"])
        with gr.Row(elem_id="buttons"):
            start = gr.Button("Show the maps", variant="primary", elem_id="start", scale=3)
            cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", scale=1)
        status = gr.HTML(elem_id="status")
        with gr.Column(visible=False, elem_id="results") as results:
            overview = gr.HTML(elem_id="overview")
            notes = gr.HTML(visible=False, elem_id="notes")
            download = gr.DownloadButton("Download all files (.zip)", size="md", elem_id="download")
            player = gr.HTML(elem_id="player")
        outputs = {"overview": overview, "notes": notes, "player": player, "download": download}
        buttons = {"start": start, "cancel": cancel, "status": status, "results": results}
        _connect(page, inputs, outputs, buttons)
    return page


def _connect(page: Page, inputs: dict[str, Any], outputs: dict[str, Any], controls: dict[str, Any]) -> None:
    """What the buttons do."""
    start, cancel, status, results = (controls[name] for name in ("start", "cancel", "status", "results"))
    changed = [start, cancel, status, results]

    def at_work(working: bool) -> Update:
        return {start: gr.Button(interactive=not working), cancel: gr.Button(interactive=working)}

    def begin(request: gr.Request) -> Update:
        page.cancelled.discard(request.session_hash)
        return {status: parts.waiting(), **at_work(True)}

    def end(request: gr.Request) -> Update:
        # the job itself shows that it has ended: of two events, an earlier one may be shown after a later one
        page.cancelled.add(request.session_hash)
        return {cancel: gr.Button(interactive=False)}

    def work(given: Update, request: gr.Request) -> Iterator[Update]:
        filled, session = form.read({name: given[x] for name, x in inputs.items()}), request.session_hash
        begun = time.perf_counter()
        for job in page.run(filled, session):
            if job.place[0] == "wait":
                begun = time.perf_counter()
            reads = filled.renoising or "read_after" in job.stages
            if not job.ended():
                yield {status: parts.stopping() if session in page.cancelled else parts.progress(job.place, reads)}
        if job.result is None:
            yield {status: _failure(job.error, filled.clip), results: gr.Column(visible=False), **at_work(False)}
            return
        yield {
            status: parts.finished(time.perf_counter() - begun),
            **at_work(False),
            results: gr.Column(visible=True),
            outputs["overview"]: parts.overview(job.result.overview),
            outputs["notes"]: gr.HTML(parts.noted(job.result.notes), visible=bool(job.result.notes)),
            outputs["player"]: parts.player(job.result.report),
            outputs["download"]: gr.DownloadButton(value=str(job.result.archive)),
        }

    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    events = [start.click, inputs["prompt"].submit, inputs["concepts"].submit, inputs["motions"].submit]
    begun = gr.on(events, begin, None, changed, queue=False, **private)
    begun.then(work, set(inputs.values()), [*changed, *outputs.values()], concurrency_limit=None, **private)
    cancel.click(end, None, [cancel], queue=False, **private)


def _failure(error: BaseException | None, clip: str | None) -> str:
    """Why a job has no result. A clip is called by its name, and not by the path of its upload."""
    if isinstance(error, Stopped):
        return parts.stopped()
    if isinstance(error, ImapError):
        log.error("%s", error)
    else:
        log.error("the job failed", exc_info=error)
    message = one_line(error) if isinstance(error, Exception) else str(error)
    return parts.refused(message.replace(clip, Path(clip).name) if clip else message)
