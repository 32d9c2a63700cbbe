"""Pages in Chromium: each is loaded in frames of some widths, whose page has a script that looks at it as a reader does."""

import functools
import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (apt-get install chromium)")
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--dump-dom", "--virtual-time-budget=20000",
    "--window-size=1400,1000",
]  # fmt: skip
SECONDS = 120
FRAME = """<!DOCTYPE html><body><iframe id="frame" style="border: 0; height: 900px"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("frame");
const scrolled = (element, top) => {
  for (let e = element.parentElement; e && e !== top; e = e.parentElement)
    if (frame.contentWindow.getComputedStyle(e).overflowX !== "visible") return true;
  return false;
};
const look = () => {
  const page = frame.contentDocument, width = frame.clientWidth;
  const outside = [...page.body.querySelectorAll("*")].filter(
    e => e.getBoundingClientRect().right > width + 1 && !scrolled(e, page.body));
  const links = [...page.querySelectorAll("nav a")].map(link => {
    link.click();
    const target = page.getElementById(decodeURIComponent(link.hash.slice(1)));
    return {text: link.textContent.trim(), found: target !== null,
      visible: target !== null && target.getBoundingClientRect().top < frame.clientHeight};
  });
  const folded = [...page.querySelectorAll("details")].map(details => {
    const closed = details.getBoundingClientRect().height;
    details.querySelector("summary").click();
    return details.getBoundingClientRect().height - closed;
  });
  return {title: page.title, width: page.documentElement.scrollWidth, outside: outside.map(e => e.outerHTML.slice(0, 80)),
    pictures: page.images.length, broken: [...page.images].filter(i => !i.naturalWidth).map(i => i.alt),
    links, folded, ink: frame.contentWindow.getComputedStyle(page.body).color, text: page.body.innerText};
};
(async () => {
  const found = [];
  for (const width of WIDTHS) {
    frame.style.width = width + "px";
    await new Promise(loaded => { frame.onload = loaded; frame.src = PAGE + "?" + width; });
    frame.contentDocument.documentElement.style.scrollBehavior = "auto";
    found.push(look());
  }
  document.getElementById("found").textContent = JSON.stringify(found);
})().catch(error => { document.getElementById("found").textContent = JSON.stringify(String(error)); });
</script></body>"""


class Handler(SimpleHTTPRequestHandler):
    """Gives a folder's files and the frame, and notes what else is asked for."""

    frame: bytes
    asked: list[str]

    def do_GET(self) -> None:
        if self.path == "/frame":
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(self.frame)
            return
        self.asked.append(self.path.partition("?")[0])
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing is written."""


def seen(page: Path, widths: tuple[int, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """What Chromium shows of a page in frames of some widths, and the files that it asked for."""
    assert PROGRAM is not None
    script = FRAME.replace("WIDTHS", json.dumps(widths)).replace("PAGE", json.dumps(page.name))
    asked: list[str] = []
    kind = type("BoundHandler", (Handler,), {"frame": script.encode(), "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(kind, directory=str(page.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            address = f"http://127.0.0.1:{server.server_port}/frame"
            words = [PROGRAM, *OPTIONS, f"--user-data-dir={profile}", address]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    shown = json.loads(html.unescape(found[1]))
    assert isinstance(shown, list), shown
    return shown, asked
