"""JupyterLab in a real browser, offline: Chromium is driven through its own DevTools protocol, no driver program needed."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: Mesa's software renderer first: about five times faster than Chromium's own for volume rendering.
FLAGS = (
    "--headless=new", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--disable-dev-shm-usage", "--ignore-gpu-blocklist", "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=1500,1250",
)  # fmt: skip
LOCAL = re.compile(r"^(?:(?:https?|wss?)://(?:127\.0\.0\.1|localhost)[:/]|data:|blob:|about:|chrome|devtools:)")
#: Said by every JupyterLab, or by a browser without a graphics card; nothing of ours.
HARMLESS = re.compile(r"ResizeObserver|GL Driver Message|favicon|WebGL.*(?:performance|software)|Autofill|source ?map|was preloaded")

#: On a machine that does much else, everything may take so many times longer.
PATIENCE = float(os.environ.get("FLAIRNB_PATIENCE", "1"))
#: JavaScript: the open notebook, its code cells, and how far they and the kernel are.
BOOK = "window.jupyterapp.shell.currentWidget.content"
CODE = f"{BOOK}.widgets.filter(c => c.model.type === 'code')"
STATUS = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
IDLE = f"{STATUS} === 'idle'"
#: A kernel is busy while it starts, too: only a cell's number or star tells that cells run.
BEGUN = f"{CODE}.some(c => c.model.executionCount || c.inputArea?.promptNode?.textContent?.includes('*'))"
FAILED = f"{CODE}.some(c => c.model.outputs.toJSON().some(o => o.output_type === 'error'))"
DONE = f"({IDLE} && {CODE}.every(c => c.model.executionCount))"


class Tab:
    """One page of the browser."""

    def __init__(self, address: str) -> None:
        import websocket

        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=120 * PATIENCE, max_size=None)
        self._number = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Ask the browser and wait for its answer: a page that goes on talking of other things is no answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        end = time.monotonic() + 120 * PATIENCE
        while time.monotonic() < end:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)
        raise AssertionError(f"{method} had no answer within {120 * PATIENCE:g} s; {self.errors[-3:]}")

    def _note(self, message: dict) -> None:
        kind, given = message.get("method", ""), message.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif kind == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.errors.append(" ".join(str(a.get("value", a.get("description", ""))) for a in given["args"]))
        elif kind == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.errors.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")

    def evaluate(self, code: str) -> object:
        done = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, code: str, seconds: float, what: str) -> object:
        end = time.monotonic() + PATIENCE * seconds
        while time.monotonic() < end:
            value = self.evaluate(code)
            if value:
                return value
            time.sleep(0.5)
        raise AssertionError(f"{what}: not within {seconds:g} s; {self.errors[-3:]}; page: {self.text()[-1500:]}")

    def text(self) -> str:
        return str(self.evaluate("(document.querySelector('.jp-Notebook') || document.body).innerText"))

    def picture(self, selector: str = "") -> np.ndarray:
        """Return a screenshot, (rows, columns, 3) uint8: of the page, or of the first element that a selector finds."""
        from PIL import Image

        clip = {}
        if selector:
            box = self.evaluate(
                f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
                " const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
            )
            clip = {"clip": dict(zip(("x", "y", "width", "height"), box, strict=True), scale=1)}
        shot = self.call("Page.captureScreenshot", format="png", **clip)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB"))

    def picture_when(self, selector: str, fits, seconds: float, what: str) -> np.ndarray:
        """Take pictures of an element until one fits."""
        self.wait_for(f"!!document.querySelector({json.dumps(selector)})", seconds, what)
        end, shot = time.monotonic() + PATIENCE * seconds, None
        while time.monotonic() < end:
            shot = self.picture(selector)
            if fits(shot):
                return shot
            time.sleep(1.0)
        if os.environ.get("FLAIRNB_SHOTS"):
            self.keep("failed", shot)
        raise AssertionError(f"{what}: not within {seconds:g} s; {self.errors[-3:]}")

    def keep(self, name: str, shot: np.ndarray | None = None) -> None:
        """Write a screenshot into the folder FLAIRNB_SHOTS, to be looked at; nothing without it."""
        from PIL import Image

        if os.environ.get("FLAIRNB_SHOTS"):
            folder = Path(os.environ["FLAIRNB_SHOTS"])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self.picture() if shot is None else shot).save(folder / f"{name}.png")

    def publish(self, name: str, shot: np.ndarray) -> None:
        """Write a picture for the README into the folder FLAIRNB_PICTURES; nothing without it."""
        from PIL import Image

        if os.environ.get("FLAIRNB_PICTURES"):
            path = Path(os.environ["FLAIRNB_PICTURES"]) / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(shot).save(path, optimize=True)

    def run_all_cells(self, seconds: float) -> None:
        """Run the notebook from top to bottom, wait until every cell has its number, and see to it that none failed."""
        # A command that comes before the notebook is the active one does nothing: say it until a cell has its number.
        again = f"{BEGUN} || (window.jupyterapp.commands.execute('notebook:run-all-cells'), false)"
        for _ in range(int(60 * PATIENCE)):
            if self.evaluate(again):
                break
            time.sleep(4)
        if seconds:
            self.wait_until_done(seconds)

    def wait_until_done(self, seconds: float) -> None:
        """Wait until every cell has its number, and see to it that none failed."""
        self.wait_for(f"{DONE} || {FAILED}", seconds, "the last cell's number")
        assert self.failures() == []

    def failures(self) -> list[str]:
        """Return what cells of the notebook raised."""
        raised = "o => o.output_type === 'error'"
        return self.evaluate(f"{CODE}.flatMap(c => c.model.outputs.toJSON()).filter({raised}).map(o => `${{o.ename}}: ${{o.evalue}}`)")

    def run_cell(self, words: str, seconds: float = 120) -> str:
        """Run the first code cell whose source holds some words; return the text of what it shows."""
        at = f"{BOOK}.widgets.findIndex(c => c.model.type === 'code' && c.model.sharedModel.source.includes({json.dumps(words)}))"
        before = self.evaluate(f"(() => {{ {BOOK}.activeCellIndex = {at}; return {BOOK}.activeCell.model.executionCount; }})()")
        self.evaluate("(window.jupyterapp.commands.execute('notebook:run-cell'), true)")
        self.wait_for(f"{IDLE} && {BOOK}.activeCell.model.executionCount > {before or 0}", seconds, words)
        return str(self.evaluate(f"{BOOK}.activeCell.outputArea.node.innerText"))

    def click(self, text: str, selector: str = "button.jupyter-button") -> None:
        """Click the first button (or whatever the selector finds) with a text."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find(b => b.textContent.trim() === {json.dumps(text)})"
        assert self.evaluate(f"(() => {{ const b = {found}; if (b) b.click(); return !!b; }})()"), text

    def push_slider(self, label: str, key: str = "ArrowRight", times: int = 1) -> None:
        """Push the first slider of a label by its keys, as a person does; waits until it is there."""
        handle = (
            "[...document.querySelectorAll('.widget-slider')].find(s => s.offsetHeight > 0 &&"
            f" s.querySelector('.widget-label')?.textContent.trim() === {json.dumps(label)})?.querySelector('.noUi-handle')"
        )
        self.wait_for(f"!!{handle}", 60, f"the slider {label}")
        self.evaluate(f"(() => {{ const h = {handle}; h.scrollIntoView({{block: 'center'}}); h.focus(); }})()")
        for _ in range(times):
            self.press(key)

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        named = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34, "Home": 36, "End": 35}
        more = {"code": key, "windowsVirtualKeyCode": named[key]} if key in named else {"text": key}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **(more if kind == "keyDown" or key in named else {}))

    def left_this_machine(self) -> list[str]:
        return sorted({url for url in self.requests if not LOCAL.match(url)})

    def real_errors(self) -> list[str]:
        return [text for text in self.errors if not HARMLESS.search(text)]


def end_process(process: subprocess.Popen) -> None:
    """Ask a server or browser to end; kill it where it does not."""
    process.terminate()
    try:
        process.wait(30 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def chromium(tmp_path_factory) -> str:
    """Start a browser for one test (in a shared one the fourth notebook got no kernel); return the address of its DevTools."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no chromium or chrome on the PATH: apt-get install chromium")
    pytest.importorskip("websocket", reason="websocket-client is absent: make setup")
    profile = tmp_path_factory.mktemp("chromium")
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        port_file = profile / "DevToolsActivePort"
        for _ in range(int(240 * PATIENCE)):
            if port_file.is_file() and port_file.read_text().strip():
                break
            assert process.poll() is None, "chromium ended at once"
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port_file.read_text().split()[0]}"
    finally:
        end_process(process)


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> tuple[str, Path, str]:
    """Start JupyterLab of this environment; return its address, the folder it shows and the token it asks for."""
    folder = tmp_path_factory.mktemp("lab")
    settings = tmp_path_factory.mktemp("settings")
    (settings / "labconfig").mkdir()
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "labconfig" / "page_config.json").write_text(json.dumps(quiet))
    # All cells are in the page, also those far below: they can be found and waited for.
    (settings / "@jupyterlab" / "notebook-extension").mkdir(parents=True)
    (settings / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    token = secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(settings), "IPYTHONDIR": str(settings), "JUPYTERLAB_SETTINGS_DIR": str(settings)}
    words = ["lab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    words += [
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    words += [f"--ServerApp.root_dir={folder}", "--ServerApp.ip=127.0.0.1"]
    log = (settings / "lab.log").open("w")
    process = subprocess.Popen([sys.executable, "-m", "jupyter", *words], stdout=log, stderr=log, env=environment, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(int(240 * PATIENCE)):
            assert process.poll() is None, (settings / "lab.log").read_text()[-2000:]
            try:
                with urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5):
                    break
            except OSError:
                time.sleep(0.5)
        yield address, folder, token
    finally:
        end_process(process)


@pytest.fixture
def new_tab(chromium):
    """Return a function that opens an empty tab; it is closed after the test."""
    opened = []

    def new(width: int = 1500, height: int = 1250) -> Tab:
        request = urllib.request.Request(f"{chromium}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=60) as answer:
            described = json.load(answer)
        opened.append(described["id"])
        tab = Tab(described["webSocketDebuggerUrl"])
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        # JupyterLab takes the focused notebook for the current one; a headless tab has no focus by itself.
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.call("Page.bringToFront")
        return tab

    yield new
    for number in opened:
        urllib.request.urlopen(f"{chromium}/json/close/{number}", timeout=60).close()


@pytest.fixture
def open_in_lab(new_tab, lab):
    """Return a function that opens a notebook in JupyterLab and waits for its kernel."""
    import nbformat

    def open_notebook(book: nbformat.NotebookNode, name: str) -> Tab:
        address, folder, token = lab
        nbformat.write(book, folder / f"{name}.ipynb")
        tab = new_tab()
        tab.call("Page.navigate", url=f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?reset&token={token}")
        tab.wait_for(IDLE, 240, "a kernel in JupyterLab")
        tab.evaluate("window.jupyterapp.shell.collapseLeft()")
        return tab

    return open_notebook


@pytest.fixture
def run_in_lab(open_in_lab):
    """Return a function that opens code as a notebook in JupyterLab and runs all of its cells."""
    import nbformat

    def run(cells: list[str], name: str) -> Tab:
        book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
        book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        tab = open_in_lab(book, name)
        tab.run_all_cells(0)
        return tab

    return run
