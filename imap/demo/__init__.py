"""The web page of `imap demo`: words and a prompt or a clip in, maps out. It needs gradio, the extra `demo`."""

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from packaging.version import parse

from imap.errors import ImapError

if TYPE_CHECKING:
    from imap.demo.web import Page

OLDEST = "6"  # gradio
INSTALL = 'pip install "imap-video[demo]" (in a checkout: pip install -e ".[demo]")'


def page(*settings: str) -> "Page":
    """Load a pipeline and build the page around it. `page(...).launch()` serves it.

    `launch` takes what `gradio.Blocks.launch` takes. It serves this machine alone, unless GRADIO_SERVER_NAME says more.

    Args:
        *settings: as of `imap demo`, such as "backbone=shapes_cogvideox".

    Raises:
        ImapError: if gradio is missing, or the pipeline cannot run with these settings.
    """
    check_gradio()
    from imap.demo.settings import configurations

    configs = configurations(settings)  # a mistake in them is found before anything heavy is imported
    from imap.demo.engine import Engine

    engine = Engine(configs)
    # gradio reads these when it is imported: one folder for all files, and nothing about the user leaves the machine
    os.environ.update(GRADIO_TEMP_DIR=str(engine.folder), GRADIO_ANALYTICS_ENABLED="False", GRADIO_RUN_HISTORY="False")
    for name in ("no_proxy", "NO_PROXY"):  # gradio asks its own server whether it runs
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))
    from imap.demo.web import build

    return build(engine)


def check_gradio() -> None:
    """Raise ImapError if gradio is missing or too old. Nothing is imported."""
    try:
        found = version("gradio")
    except PackageNotFoundError:
        raise ImapError(f"imap demo needs gradio, and it is not installed; run {INSTALL}") from None
    if parse(found) < parse(OLDEST):
        raise ImapError(f"imap demo needs gradio {OLDEST}, and {found} is installed; run {INSTALL}")
