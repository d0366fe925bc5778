"""A headless Chromium, driven over the DevTools protocol with Python's standard library alone."""
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
import zlib


def png_read(path):
    """(width, height, [bytes of a row]) of an 8-bit PNG that is not interlaced; of colours the first channel."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, laced = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and not laced and colour in (0, 2, 4, 6), path
        if kind == b"IDAT":
            packed += body
        at += size + 12
    each = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    raw, stride, rows = zlib.decompress(packed), width * each, []
    above = bytearray(stride)
    for y in range(height):
        how, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        _unfilter(how, line, above, each)
        rows.append(bytes(line[::each]))
        above = line
    return width, height, rows


def _unfilter(how, line, above, each):
    for x in range(len(line)) if how else ():
        left, up = line[x - each] if x >= each else 0, above[x]
        corner = above[x - each] if x >= each else 0
        if how == 1:
            guess = left
        elif how == 2:
            guess = up
        elif how == 3:
            guess = (left + up) // 2
        else:
            p = left + up - corner
            guess = min((left, up, corner), key=lambda v: abs(p - v))
        line[x] = (line[x] + guess) & 255


class Browser:
    """One page of one browser, whose profile is a folder that goes with it."""

    def __init__(self, program, width=1200, height=800):
        self.profile = tempfile.mkdtemp()
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
             f"--user-data-dir={self.profile}", f"--window-size={width},{height}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.number = 0
        self.events = []
        port = self.until(self._port, "the browser's port", 60)
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list"))
        self._connect(port, next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page"))
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def _port(self):
        try:
            with open(os.path.join(self.profile, "DevToolsActivePort")) as f:
                return int(f.readline())
        except (OSError, ValueError):
            if self.process.poll() is not None:
                raise SystemExit("the browser ended at once") from None
            return None

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    # A websocket's client (RFC 6455): text frames, masked as a client's must be.
    def _connect(self, port, url):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.buffer = b""
        path = url.split(str(port), 1)[1]
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        assert b" 101 " in head.split(b"\r\n")[0], head

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise SystemExit("the browser closed its connection")
        self.buffer += data

    def _take(self, n):
        while len(self.buffer) < n:
            self._more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def _send(self, text):
        data, mask = text.encode(), os.urandom(4)
        n = len(data)
        size = (bytes([0x80 | n]) if n < 126 else bytes([0xFE]) + struct.pack(">H", n) if n < 1 << 16
                else bytes([0xFF]) + struct.pack(">Q", n))
        self.socket.sendall(b"\x81" + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def _receive(self):
        text = b""
        while True:
            first, size = self._take(2)
            size &= 0x7F
            if size > 125:
                size = struct.unpack(">H", self._take(2))[0] if size == 126 else struct.unpack(">Q", self._take(8))[0]
            data = self._take(size)
            if first & 0x0F <= 1:
                text += data
                if first & 0x80:
                    return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        self._send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            said = self._receive()
            if "id" not in said:
                self.events.append(said)
            elif said["id"] == self.number:
                assert "error" not in said, f"{method}: {said}"
                return said["result"]

    def evaluate(self, script):
        said = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, f"{script}: {said['exceptionDetails']}"
        return said["result"].get("value")

    def until(self, true, what, seconds=30):
        """Waits for a script of the page, or a function, to give something; returns that."""
        end = time.monotonic() + seconds
        while True:
            value = true() if callable(true) else self.evaluate(true)
            if value:
                return value
            assert time.monotonic() < end, f"waited {seconds} s for: {what}"
            time.sleep(0.05)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("document.readyState == 'complete'", "the page")

    def choose_file(self, selector, path):
        node = self.call("Runtime.evaluate", expression=f"document.querySelector('{selector}')")["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[os.path.abspath(path)], objectId=node)

    def mouse(self, kind, x, y, button="none", modifiers=0):
        self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button=button, modifiers=modifiers,
                  buttons={"none": 0, "left": 1, "right": 2}[button], clickCount=0 if kind == "Moved" else 1)

    def click(self, x, y, button="left", modifiers=0):
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y, button, modifiers)
        self.mouse("Released", x, y, button, modifiers)

    def drag(self, x0, y0, x1, y1):
        self.mouse("Moved", x0, y0)
        self.mouse("Pressed", x0, y0, "left")
        for i in range(1, 5):
            self.mouse("Moved", x0 + (x1 - x0) * i / 4, y0 + (y1 - y0) * i / 4, "left")
        self.mouse("Released", x1, y1, "left")

    def key(self, key, modifiers=0):
        code = {"Enter": 13, "Escape": 27, "Delete": 46, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
                "Tab": 9}.get(key, ord(key[0].upper()))
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, modifiers=modifiers)

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self):
        """What the page's console has to say: exceptions, and errors such as a refused script."""
        self.evaluate("0")
        return [e for e in self.events if e["method"] == "Runtime.exceptionThrown"
                or (e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error")]
