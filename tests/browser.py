"""Headless Chromium, driven over a pipe: no driver program and no port."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
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
        tab = self.open(page.resolve().as_uri(), size, dark)
        try:
            return tab.run(script)
        finally:
            tab.close()

    def open(self, address: str, size: tuple[int, int], dark: bool = False) -> "Tab":
        """A loaded page. size: (width, height) in pixels."""
        return Tab(self, address, size, dark)

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


class Tab:
    """A loaded page of a browser. One is open at a time."""

    def __init__(self, browser: Browser, address: str, size: tuple[int, int], dark: bool) -> None:
        self.browser = browser
        browser.events.clear()
        self.target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        self.resize(size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        for domain in ("Page", "Runtime", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in browser.events):
            browser.events.append(browser._next())

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """As `Browser.ask`, of this page."""
        return self.browser.ask(method, self.session, **params)

    def resize(self, size: tuple[int, int]) -> None:
        """Set the width and height in pixels. A narrow page is that of a phone."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)

    def run(self, script: str) -> Any:
        """What the body of an async function returns. Raises AssertionError for any error of the page until now."""
        call = {"expression": f"(async () => {{ {script}\n }})()", "awaitPromise": True, "returnByValue": True}
        found = self.ask("Runtime.evaluate", **call)
        thrown = [event["params"] for event in self.browser.events if event["method"] == "Runtime.exceptionThrown"]
        errors = [*thrown, *([found] if "exceptionDetails" in found else [])]
        texts = [error["exceptionDetails"].get("exception", {}).get("description", str(error)) for error in errors]
        assert not texts, texts
        return found["result"].get("value")

    def until(self, script: str, seconds: float = PATIENCE) -> Any:
        """The plain value of an expression once it is true. Raises AssertionError if it is not, for so long."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {script}")):
            if time.monotonic() > end:
                said = self.run("return document.body.innerText")
                raise AssertionError(f"not within {seconds} s: {script}; the page says {said!r}")
            time.sleep(0.1)
        return value

    def requests(self) -> list[str]:
        """Addresses that the page has requested."""
        events = [event for event in self.browser.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in events]

    def picture(self, path: Path) -> None:
        """Write what is visible as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Close the page."""
        self.browser.ask("Target.closeTarget", targetId=self.target)
