"""Headless Chromium, driven over a pipe: no driver program and no port."""

import fcntl
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-quic", "--disable-sync", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE = 60  # seconds for an answer, on a machine that is busy


def find() -> str | None:
    """The Chromium of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser for many pages. It ends with `close`."""

    def __init__(self, program: str, profile: Path) -> None:
        pipes = [*os.pipe(), *os.pipe()]
        # away from 3 and 4, at which the browser reads and writes
        self.to_browser, self.written, self.read, self.from_browser = (
            fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (pipes[1], pipes[0], pipes[2], pipes[3])
        )
        for end in pipes:
            os.close(end)

        def wire() -> None:
            os.dup2(self.written, 3)
            os.dup2(self.from_browser, 4)

        command = [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=wire)
        os.close(self.written)
        os.close(self.from_browser)
        self.count, self.left, self.events = 0, b"", []

    def look(self, page: Path, size: tuple[int, int], script: str, dark: bool) -> Any:
        """What the body of an async function returns on a page. Raises AssertionError for any error of the page."""
        self.events.clear()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", session, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", session, features=[scheme])
        self.ask("Emulation.setFocusEmulationEnabled", session, enabled=True)
        for domain in ("Page", "Runtime"):
            self.ask(f"{domain}.enable", session)
        self.ask("Page.navigate", session, url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        call = {"expression": f"(async () => {{ {script}\n }})()", "awaitPromise": True, "returnByValue": True}
        found = self.ask("Runtime.evaluate", session, **call)
        self.ask("Target.closeTarget", targetId=target)
        thrown = [event["params"] for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        errors = [*thrown, *([found] if "exceptionDetails" in found else [])]
        thrown_texts = [
            error["exceptionDetails"].get("exception", {}).get("description", str(error)) for error in errors
        ]
        assert not thrown_texts, thrown_texts
        return found["result"].get("value")

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The answer to a call of the Chrome DevTools Protocol."""
        self.count += 1
        call = {"id": self.count, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self.to_browser, json.dumps(call).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self.count:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            ready, _, _ = select.select([self.read], [], [], PATIENCE)
            new = os.read(self.read, 1 << 16) if ready else b""
            assert new, f"Chromium {'has ended' if ready else f'has not answered for {PATIENCE} s'}"
            self.left += new
        message, _, self.left = self.left.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        """End it."""
        os.close(self.to_browser)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
