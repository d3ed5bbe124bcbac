"""Requests to a chat endpoint that speaks the protocol of OpenAI, with retries."""

import base64
import json
import logging
import os
import random
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from imap.errors import ImapError, first_line
from imap.evaluation.judge.answers import UNREADABLE, is_filtered
from imap.evaluation.judge.protocol import SCHEMA

log = logging.getLogger("imap")
KEY = "OPENAI_API_KEY"  # environment variable
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0  # seconds before the first retry, doubled each time
LONGEST_WAIT = 600.0  # seconds, at most, that an endpoint may ask for (Retry-After)
AGAIN = (408, 409, 429)  # status codes that pass, beside 500 and more
NO_CREDIT = "insufficient_quota"  # a 429 that does not pass


class NoReplyError(Exception):
    """The endpoint has not replied, after all retries."""


class Endpoint:
    """A model at an endpoint.

    Args:
        url: base URL, such as https://api.openai.com/v1.
        model: name of the model there.
        temperature: of sampling; None leaves it to the endpoint.
        timeout: seconds to wait for a reply.
        retries: requests after a first one that failed.

    Raises:
        ImapError: without the package openai, for another URL, or one that holds a password.
    """

    def __init__(self, url: str, model: str, temperature: float | None, timeout: float, retries: int) -> None:
        try:
            import openai  # pyright: ignore[reportMissingImports]  # an extra
        except ImportError:
            raise ImapError(
                'imap score judge needs the package openai; install it: pip install "imap-video[eval]"'
            ) from None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ImapError(
                "--endpoint takes the base URL of an endpoint, such as https://api.openai.com/v1, without a password "
                f"or query; the key is read from the environment variable {KEY}"
            )
        self._key = os.environ.get(KEY, "").strip()
        if not self._key.isascii() or not self._key.isprintable():
            raise ImapError(f"{KEY} holds characters that no key has; set it again")
        self._openai, self._retries = openai, retries
        self.model, self.temperature = model, temperature
        self.stopped = threading.Event()  # ends the waiting of all threads; requests under way are finished
        # a local server needs no key, and the client needs one
        self._client = openai.OpenAI(api_key=self._key or "none", base_url=url, timeout=timeout, max_retries=0)

    def ask(self, text: str, pictures: Sequence[bytes]) -> str:
        """Raw reply to a text and PNG pictures: the JSON of a completion, or of an error that refuses the content.

        Raises:
            NoReplyError: if time-outs, broken connections, 429 and 5xx do not pass.
            ImapError: for an error that every request would meet, such as a wrong key.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._without_key(self._reply(text, pictures))
            except (self._openai.APIConnectionError, self._openai.APIStatusError, _BrokenReplyError) as error:
                reason, body = self._without_key(first_line(error)), getattr(error, "body", None)
                response = getattr(error, "response", None)
                status = None if response is None else response.status_code
                code = body.get("code") if isinstance(body, dict) else None
                if is_filtered({"error": body}):
                    return self._without_key(json.dumps({"error": body}))
                if code == NO_CREDIT or not (status is None or status in AGAIN or status >= 500):
                    raise ImapError(f"the endpoint refuses requests: {reason}") from None
            if attempt < self._retries:
                delay = _delay(attempt, response)
                log.warning("no reply (%s); again in %.0f s", reason, delay)
                if self.stopped.wait(delay):
                    break
        raise NoReplyError(reason)

    def _reply(self, text: str, pictures: Sequence[bytes]) -> str:
        urls = [f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in pictures]
        content: Any = [
            {"type": "text", "text": text},
            *({"type": "image_url", "image_url": {"url": url}} for url in urls),
        ]
        form: Any = {"type": "json_schema", "json_schema": {"name": "grades", "strict": True, "schema": SCHEMA}}
        sampling: Any = {} if self.temperature is None else {"temperature": self.temperature}
        reply = self._client.chat.completions.with_raw_response.create(
            model=self.model, messages=[{"role": "user", "content": content}], response_format=form, **sampling
        ).text
        body = _body(reply)
        if not body.get("choices") and not is_filtered(body):
            raise _BrokenReplyError(f"the reply is no chat completion: {reply[:80]!r}")  # of a proxy, for example
        return reply

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


class _BrokenReplyError(Exception):
    pass


def _body(reply: str) -> dict[str, Any]:
    """The object in a reply; empty for anything else."""
    try:
        body = json.loads(reply)
    except UNREADABLE:
        return {}
    return body if isinstance(body, dict) else {}


def _delay(attempt: int, response: Any) -> float:
    """Seconds before the next try: what the endpoint asks for, else twice as long each time, spread by chance."""
    asked = "" if response is None else response.headers.get("retry-after", "")
    if asked.isdecimal():
        return min(float(asked), LONGEST_WAIT)
    return min(FIRST_DELAY * 2**attempt, LONGEST_DELAY) * random.uniform(0.75, 1.25)
