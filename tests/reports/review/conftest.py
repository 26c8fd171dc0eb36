"""Headless Chromium for the tests of the review page, over two pipes with the Chrome DevTools protocol.

No further package is needed. The tests are skipped where no Chromium is installed.

Chromium reads commands from file descriptor 3 and answers on 4, one JSON text each, ended by a zero byte, when it is
started with `--remote-debugging-pipe`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S = 60.0


def chromium() -> str | None:
    """The path of a Chromium, None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page of one browser. Use it as a context manager."""

    def __init__(self, profile: Path, dark: bool = False) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def place() -> None:
            # Through high numbers first: 3 and 4 may be ends of these very pipes.
            high_read, high_write = os.dup(to_read), os.dup(to_write)
            os.dup2(high_read, 3)
            os.dup2(high_write, 4)

        self._log = open(profile / "chromium.log", "wb")
        self._process = subprocess.Popen(
            [chromium() or "chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu",
             "--no-first-run", "--mute-audio", f"--user-data-dir={profile / 'chromium'}", "--window-size=1400,1000",
             "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=place, close_fds=False)
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session = b"", 0, None
        self.exceptions: list[str] = []
        self.wait(lambda: self._attach(), "a page")
        self.send("Runtime.enable")
        self.send("Page.enable")
        self.send("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._read)
        os.close(self._write)
        self._log.close()

    def _attach(self) -> bool:
        pages = [t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        if pages:
            self._session = self.send("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        return bool(pages)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command and return its result; raises `RuntimeError` with the browser's words if it is refused."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.exceptions.append(details.get("exception", {}).get("description") or details["text"])
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], TIMEOUT_S)[0]:
                raise TimeoutError(f"Chromium did not answer for {TIMEOUT_S:g} s; see {self._log.name}")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise RuntimeError(f"Chromium ended; see {self._log.name}")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.wait(lambda: self.evaluate("location.href !== 'about:blank' && document.readyState === 'complete'"), url)

    def press(self, key: str, shift: bool = False) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0, **text)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Ask until the answer is true, and return it; raises `TimeoutError`."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            time.sleep(0.05)
        return value

    def screenshot(self, path: Path) -> None:
        """What is in the window, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """`browser(dark=False)` starts a Chromium; all are ended with the session."""
    if chromium() is None:
        pytest.skip(f"the review page is tested in Chromium, and none of {', '.join(NAMES)} is installed "
                    "(Debian: apt-get install chromium)")
    with contextlib.ExitStack() as stack:
        yield lambda dark=False: stack.enter_context(Browser(tmp_path_factory.mktemp("chromium"), dark))
