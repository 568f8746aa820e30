"""A browser that a program steers: WebDriver over plain HTTP, as far as the page's test needs it."""

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
TAB, ENTER, ESCAPE, SPACE, DOWN = "\ue004", "\ue007", "\ue00c", " ", "\ue015"


class Browser:
    """A headless Chromium with a profile of its own."""

    def __init__(self, chromedriver, chromium, size=(1280, 900)):
        self.driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = None
        for line in self.driver.stdout:
            found = re.search(r"successfully on port (\d+)", line)
            if found:
                port = int(found.group(1))
                break
        assert port, "chromedriver names no port"
        self.base = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                     "--disable-component-update", "--no-first-run", f"--window-size={size[0]},{size[1]}"]
        options = {"binary": chromium, "args": arguments, "perfLoggingPrefs": {"enableNetwork": True}}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        try:
            self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.driver.kill()
            raise

    def call(self, method, path, body=None):
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()[:400]}") from None

    def of(self, method, path, body=None):
        return self.call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.of("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.of("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        return self.of("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def cdp(self, command, **parameters):
        return self.of("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def press(self, *keys):
        """Presses keys one after the other, as a person does: whatever has the focus gets them."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.of("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def back_tab(self):
        down, up = {"type": "keyDown", "value": "\ue008"}, {"type": "keyUp", "value": "\ue008"}
        tab = [{"type": "keyDown", "value": TAB}, {"type": "keyUp", "value": TAB}]
        self.of("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": [down, *tab, up]}]})

    def elements(self, selector):
        found = self.of("POST", "/elements", {"using": "css selector", "value": selector})
        return [one[ELEMENT] for one in found]

    def label(self, element):
        """What a screen reader calls it."""
        return self.of("GET", f"/element/{element}/computedlabel")

    def role(self, element):
        return self.of("GET", f"/element/{element}/computedrole")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? null", selector)

    def shown(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return Boolean(e) && e.checkVisibility()", selector)

    def log(self, kind):
        return self.of("POST", "/se/log", {"type": kind})

    def requests(self):
        """Addresses of all that was asked for since the last question."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]

    def shot(self, path, whole=True):
        """The whole page; `whole=False`: what the window shows, with an open dialog."""
        image = self.cdp("Page.captureScreenshot", captureBeyondViewport=whole)["data"] if whole else self.of("GET", "/screenshot")
        with open(path, "wb") as file:
            file.write(base64.b64decode(image))

    def close(self):
        try:
            self.of("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()


def eventually(what, look, limit=60):
    """Looks until `look` gives something."""
    until = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"did not happen within {limit} s: {what}")
        time.sleep(0.1)
