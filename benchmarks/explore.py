"""Opens the page of `caudal explore` for some runs in a real Chromium, and uses each tab.

    python benchmarks/explore.py runs/demo runs/moons --out shots

It needs caudal[explore], selenium, chromium and chromedriver. Every host but 127.0.0.1 is blocked,
and a request to another one is an error. For each run and tab there are screenshots, 1280 and 400
dots wide, light and dark; what is wider than the window is an error, too. Where the page has a
microphone, a tab is given two seconds of it: of `--microphone FILE.wav`, or else of the beeps that
Chromium has for this.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import caudal
from narrow import Window

SIZES = (1280, 400)
LONGEST = 120.0  # seconds for an answer
BUSY = (
    "return [...document.querySelectorAll('[data-testid=status-tracker]')]"
    ".some(e => e.offsetParent && !e.classList.contains('hide'))"
)


BUTTON = (
    "text => [...document.querySelectorAll('[role=tabpanel] button')]"
    ".find(b => b.offsetParent && b.textContent.trim() === text)"
)


class Browser:
    """A Chromium without a screen that sees this machine alone.

    Args:
        address: of the page.
        microphone: a .wav file that its microphone hears; beeps if None.
    """

    def __init__(self, address: str, microphone: Path | None = None) -> None:
        heard = f"--use-file-for-fake-audio-capture={microphone.resolve()}" if microphone else None
        self.window = Window(*filter(None, [heard]))
        self.driver = self.window.driver
        self.address = address
        self.open()

    def open(self, theme: str = "light") -> None:
        """Loads the page anew."""
        self.driver.get(f"{self.address}/?__theme={theme}")
        self.until(lambda: self.titles(), "the page")
        self.settle()

    def titles(self) -> list[str]:
        """The titles of its tabs, also of those that are behind a menu."""
        return self.driver.execute_script(
            "return [...new Set([...document.querySelectorAll('button[role=tab]')]"
            ".map(b => b.textContent.trim()))]"
        )

    def tab(self, title: str) -> None:
        """Opens a tab, and waits for what it shows."""
        self.until(lambda: title in self.titles(), f"the tab {title}")
        self.driver.execute_script(
            "[...document.querySelectorAll('button[role=tab]')]"
            ".findLast(b => b.textContent.trim() === arguments[0]).click()",
            title,
        )
        self.settle()

    def press(self, text: str) -> None:
        """Presses the button of that text that is in sight, and waits for the answer."""
        self.until(lambda: self._click(text), f"the button {text}")
        self.settle()

    def upload(self, path: Path) -> None:
        """Gives a file to the first field for files that is in the open tab."""
        from selenium.webdriver.common.by import By

        fields = self.driver.find_elements(By.CSS_SELECTOR, "input[type=file]")
        for element in fields:
            if self.driver.execute_script(
                "return !!arguments[0].closest('[role=tabpanel]')?.offsetParent && "
                "arguments[0].closest('.block').textContent.includes('Drop File Here')",
                element,
            ):
                element.send_keys(str(path))
                break
        time.sleep(2.0)

    def record(self, seconds: float) -> None:
        """Records by the microphone of the open tab, as a visitor does."""
        self.until(lambda: self._click("Record"), "the microphone")
        self.until(lambda: self._sees("Stop"), "the recording")
        time.sleep(seconds)
        self._click("Stop")
        self.until(lambda: not self._sees("Stop"), "the end of the recording")
        self.settle()

    def _click(self, text: str) -> bool:
        return self.driver.execute_script(
            f"const b = ({BUTTON})(arguments[0]); b?.click(); return !!b", text
        )

    def _sees(self, text: str) -> bool:
        return self.driver.execute_script(f"return !!({BUTTON})(arguments[0])", text)

    def slide(self, label: str, value: float) -> None:
        """Sets a number or a slider in the open tab, as typing does."""
        self.driver.execute_script(
            """
            const box = [...document.querySelectorAll('.block')].find(b => b.offsetParent &&
              b.querySelector('input[type=number]') && b.textContent.includes(arguments[0]));
            const input = box.querySelector('input[type=number]');
            input.value = arguments[1];
            for (const kind of ['input', 'change', 'blur'])
              input.dispatchEvent(new Event(kind, {bubbles: true}));
            """,
            label,
            value,
        )
        self.settle()

    def shown(self) -> str:
        """The text of what the open tab shows."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.prose.result')].filter(e => e.offsetParent)"
            ".map(e => e.innerText).join(' ')"
        )

    def images(self) -> list[str]:
        """The sources of the pictures that the open tab shows."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.prose.result img')]"
            ".filter(e => e.offsetParent).map(e => e.src)"
        )

    def settle(self) -> None:
        """Waits until nothing changes in the open tab."""
        time.sleep(0.6)
        self.until(lambda: not self.driver.execute_script(BUSY), "an answer")
        before = None
        while (
            now := self.driver.execute_script("return document.body.innerHTML.length")
        ) != before:
            before = now
            time.sleep(0.5)

    def until(self, is_so: object, what: str) -> None:
        """Waits for something.

        Raises:
            TimeoutError: it does not come.
        """
        end = time.monotonic() + LONGEST
        while not is_so():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.address}: waited {LONGEST:.0f} s for {what}")
            time.sleep(0.2)

    def shoot(self, path: Path, width: int) -> None:
        """A screenshot of the whole page in that width; ends if something juts out of it."""
        self.window.measure(width)
        if wide := self.window.too_wide():
            sys.exit(f"{path}: wider than {width} dots: {', '.join(wide)}")
        self.window.shoot(path)
        self.window.measure(None)

    def elsewhere(self) -> list[str]:
        """What was asked of any host but this machine."""
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if url.startswith(("http", "ws")) and "//127.0.0.1:" not in url:
                    asked.append(url)
        return asked

    def close(self) -> None:
        """Ends it, and removes its profile."""
        self.window.close()


def shoot_run(run: Path, out: Path, microphone: Path | None) -> None:
    """Each tab of a run, in both widths and both themes, and what its microphone hears."""
    page = caudal.load(run).explore(browser=False)
    browser = Browser(page.address, microphone)
    try:
        for theme in ("light", "dark"):
            browser.open(theme)
            for title in browser.titles():
                start = time.monotonic()
                browser.tab(title)
                print(
                    f"{run.name}, {title}, {theme}: {time.monotonic() - start:.1f} s", flush=True
                )
                for width in SIZES:
                    name = f"{run.name}-{title.lower().replace(' ', '-')}-{width}-{theme}.png"
                    browser.shoot(out / name, width)
        if "Copy" in browser.titles():
            copy_recording(browser, out / f"{run.name}-microphone.png")
        if asked := browser.elsewhere():
            sys.exit(f"{run}: requests to other hosts: {asked}")
        print(f"{run.name}: no request to another host", flush=True)
    finally:
        browser.close()
        page.close()


def copy_recording(browser: Browser, shot: Path) -> None:
    """Records on the page, and has the flow make the same sound again."""
    browser.open()
    browser.tab("Copy")
    browser.record(2.0)
    browser.press("Copy")
    browser.shoot(shot, SIZES[0])
    print(f"{shot.stem}: {browser.shown()}", flush=True)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("shots"))
    parser.add_argument("--microphone", type=Path, help="a .wav file that is heard")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for run in options.runs:
        shoot_run(run, options.out, options.microphone)


if __name__ == "__main__":
    main()
