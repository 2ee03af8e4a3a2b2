"""Pages in a window of 400 dots, as wide as a telephone: does anything jut out of it?

    python benchmarks/narrow.py runs/demo/report.html build/site --out shots

It needs selenium, chromium and chromedriver. Pages are files, or folders of a site, all pages of
which are opened. A page must not move sideways, and no picture may be cut off; tables and code may
move within boxes of their own. What juts out is named and is an error; `--out` keeps screenshots.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

WIDTH, HIGHEST = 400, 3000  # dots
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
)
JUTTING = """
const width = document.documentElement.clientWidth, found = [];
const boxed = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
  if (getComputedStyle(p).overflowX !== 'visible') return true; return false };
if (document.documentElement.scrollWidth > width)
  for (const e of document.body.querySelectorAll('*'))
    if (e.getBoundingClientRect().right > width + 1 && !boxed(e))
      found.push(e.tagName.toLowerCase() + '.' + e.className);
for (const e of document.images)
  if (e.offsetParent && e.getBoundingClientRect().width > width)
    found.push('picture ' + (e.alt || e.src.slice(-60)));
return [...new Set(found)].slice(0, 6)
"""


class Window:
    """A Chromium without a screen that sees this machine alone.

    Args:
        flags: of Chromium, beside the usual ones.
    """

    def __init__(self, *flags: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = shutil.which("chromium")
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        for flag in (*FLAGS, *flags, f"--user-data-dir={self.profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_window_size(1280, 1000)
        self._size: dict[str, int | bool] = {}

    def measure(self, width: int | None) -> None:
        """Makes the page that wide, as on a telephone below 600 dots; None undoes it."""
        if width is None:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            return
        self._size = {"width": width, "deviceScaleFactor": 1, "mobile": width < 600}
        self._resize(900)
        time.sleep(0.8)

    def _resize(self, height: int) -> None:
        size = {**self._size, "height": height}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def too_wide(self) -> list[str]:
        """What juts out of the window."""
        return self.driver.execute_script(JUTTING)

    def shoot(self, path: Path) -> None:
        """A screenshot of the whole page."""
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        self._resize(min(height, HIGHEST))
        time.sleep(0.4)
        self.driver.save_screenshot(str(path))

    def close(self) -> None:
        """Ends it, and removes its profile."""
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *words: object) -> None:
        pass


def pages(place: Path) -> Iterator[tuple[str, str]]:
    """The addresses of all pages of a file or a folder, each with a name."""
    folder = place if place.is_dir() else place.parent
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    found = sorted(folder.rglob("*.html")) if place.is_dir() else [place]
    for page in found:
        path = page.relative_to(folder)
        name = "-".join(path.with_suffix("").parts)
        yield f"http://127.0.0.1:{server.server_port}/{path.as_posix()}", name
    server.shutdown()


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="a folder for screenshots")
    options = parser.parse_args()
    window, tried, failed = Window(), 0, 0
    try:
        for place in options.places:
            for address, name in pages(place):
                window.driver.get(address)
                window.measure(WIDTH)
                wide = window.too_wide()
                tried, failed = tried + 1, failed + bool(wide)
                if wide:
                    print(f"{address}: {', '.join(wide)}", flush=True)
                if options.out is not None:
                    options.out.mkdir(parents=True, exist_ok=True)
                    window.shoot(options.out / f"{place.parent.name}-{name}.png")
    finally:
        window.close()
    print(f"{tried} pages of {WIDTH} dots, {failed} wider")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
