#!/usr/bin/env python3
"""The page of the admin listener in a real headless browser, used without a mouse.

Needs a running cluster of three nodes with two copies of each shard (`node-0` to `node-2`) and the programs chromium and chromedriver. It drains `node-0`,
pauses and resumes that, and takes the node out of service and back. What it sees is kept as pictures in the folder SHOTS.
"""

import argparse
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request

from relay import Relay
from webdriver import DOWN, ENTER, ESCAPE, SPACE, TAB, Browser, eventually

HURT = '<img src=x onerror="window.hurt=1"><script>window.hurt=2</script>'


class Api:
    def __init__(self, url, key):
        self.url, self.key = url, key

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method), timeout=60) as answer:
            return json.load(answer)

    def task(self, method, path, body):
        uid = self.ask(method, path, body)["taskUid"]
        ended = ("succeeded", "failed", "canceled")
        return eventually(f"task {uid} ends", lambda: next((t for t in [self.ask("GET", f"/tasks/{uid}")] if t["status"] in ended), None))


class Test:
    def __init__(self, browser, relay, api, admin, shots):
        self.browser, self.relay, self.api, self.admin, self.shots = browser, relay, api, admin, shots

    # What is looked at.

    def say(self, text):
        print(f"page: {text}", flush=True)

    def shot(self, name, whole=True):
        self.browser.shot(os.path.join(self.shots, f"{name}.png"), whole)

    def focus(self):
        return self.browser.run("const e = document.activeElement; return e.getAttribute('aria-label') ?? e.id ?? e.tagName")

    def node(self, node):
        script = "return [...document.querySelectorAll('#nodes-table tbody tr')].find((r) => r.cells[0].textContent === arguments[0])?.innerText ?? ''"
        return " ".join(self.browser.run(script, node).split())

    def tab_to(self, wanted, most=80):
        """Presses Tab until what is called so has the focus; each stop on the way must be seen."""
        for _ in range(most):
            self.browser.press(TAB)
            ring = self.browser.run("const s = getComputedStyle(document.activeElement); return document.activeElement === document.body ? 'none of it' : s.outlineStyle")
            assert ring != "none", f"the focus on {self.focus()} is not seen"
            if self.focus() == wanted:
                return
        raise AssertionError(f"{wanted} is not reached by Tab")

    def is_open(self):
        return self.browser.run("return document.getElementById('act').open")

    def open_wish(self, button, key):
        """By keyboard, from the top of the page."""
        self.browser.run("document.activeElement.blur()")
        self.tab_to(button)
        self.browser.press(key)
        eventually("the dialog opens", self.is_open)
        assert self.browser.run("return document.getElementById('act').contains(document.activeElement)"), "the focus is not in the dialog"

    def open_act(self, button, key=ENTER):
        """The dialog with its plan, which is returned."""
        self.open_wish(button, key)
        eventually("the plan is there", lambda: self.browser.text("#act-plan"))
        return self.browser.text("#act-plan")

    def confirm(self):
        eventually("the act may be confirmed", lambda: not self.browser.run("return document.getElementById('act-yes').disabled"))
        self.tab_to("act-yes", 20)
        self.browser.press(ENTER)
        eventually("the dialog closes", lambda: not self.is_open())
        return self.browser.text("#acted")

    def no_complaints(self):
        complaints = [entry for entry in self.browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        assert not complaints, complaints

    # The steps, in order.

    def key(self, key):
        self.browser.open(self.relay.url + "/")
        if key is None:
            return
        eventually("a key is asked for", lambda: self.browser.shown("#key-form"))
        eventually("the field has the focus", lambda: self.focus() == "key")
        assert not self.browser.shown("#main"), "nothing is shown before"
        self.shot("1-key")
        self.browser.press(*"wrong-key", ENTER)
        eventually("the wrong key is refused", lambda: "invalid" in self.browser.text("#key-why"))
        eventually("the field has the focus", lambda: self.focus() == "key")
        self.browser.press(*key, ENTER)
        eventually("the page is shown", lambda: self.browser.shown("#main"))
        assert not self.browser.shown("#key-form")
        kept = self.browser.run("return [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie, document.documentElement.outerHTML]")
        assert kept[:3] == ["{}", "{}", ""] and key not in kept[3], "the key is kept somewhere"
        assert all(key not in path for _, path, _ in self.relay.seen), "the key stands in an address"
        refused = self.browser.log("browser")
        assert all("401" in entry["message"] or "403" in entry["message"] for entry in refused if entry["level"] == "SEVERE"), refused
        self.say("the key is asked for, a wrong one is refused, the right one is kept nowhere")

    def content(self):
        for node in ("node-0", "node-1", "node-2"):
            eventually(f"{node} is up", lambda: "● up" in self.node(node))
        eventually("shards are told", lambda: "in sync: 256" in self.browser.text("#shards-counts"))
        eventually("rates are told", lambda: "requests a second" in self.browser.text("#traffic-said"))
        eventually("hostile names are shown", lambda: HURT in self.browser.text("#tasks-table"))
        shown = self.browser.text("#tasks-table")
        assert shown.count("<img src=x") >= 2, "the name of an index and the error of a task are text"
        assert HURT in self.browser.text("#nodes-table"), "the zone of a node is text"
        hurt = self.browser.run("return [window.hurt ?? null, document.images.length, document.querySelectorAll('main script').length]")
        assert hurt == [None, 0, 0], hurt
        self.say("three nodes, their shards, rates and tasks are shown; hostile names are text")

    def accessible(self):
        for element in self.browser.elements("button, select, input, progress"):
            if self.browser.of("GET", f"/element/{element}/displayed"):
                assert self.browser.label(element).strip(), f"a {self.browser.role(element)} without a name"
        faults = self.browser.run("""
            const faults = [];
            if (!document.documentElement.lang) faults.push('no language');
            if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
            for (const table of document.querySelectorAll('table')) {
              if (!table.caption?.textContent) faults.push(`a table without a caption: ${table.id}`);
              for (const head of table.querySelectorAll('th')) if (!head.scope) faults.push(`a head without a scope: ${head.textContent}`);
            }
            for (const element of document.querySelectorAll('*')) {
              for (const { name } of element.attributes) if (name.startsWith('on') || name === 'style') faults.push(`${element.tagName} has ${name}`);
              if (element.tabIndex > 0) faults.push(`${element.tagName} jumps the queue`);
            }
            for (const region of ['[role=status]', '[role=alert]']) if (!document.querySelector(region)) faults.push(`no ${region}`);
            for (const link of document.querySelectorAll('a')) if (!document.querySelector(link.getAttribute('href'))) faults.push(`${link.textContent} leads nowhere`);
            return faults;""")
        assert not faults, faults
        self.say("every control has a name, every table a caption; no inline handler or style")

    def drain(self):
        plan = self.open_act("Drain node-0")
        assert "Replicas that move" in plan and "Documents to copy" in plan and "node-2" in plan, plan
        self.shot("3-plan", whole=False)
        for _ in range(4):
            self.browser.press(TAB)
            inside = self.browser.run("const e = document.activeElement; return e === document.body || document.getElementById('act').contains(e)")
            assert inside, "Tab leaves the dialog"
        self.browser.press(ESCAPE)
        eventually("Escape closes the dialog", lambda: not self.is_open())
        assert self.focus() == "Drain node-0", f"the focus is on {self.focus()}"
        assert self.admin.ask("GET", "/rebalance")["state"] == "idle", "looking at a plan changes nothing"
        self.open_act("Drain node-0")
        assert "node-0 is drained" in self.confirm()
        self.say("node-0 is drained by keyboard, with the plan shown first")
        eventually("the moves are shown", lambda: self.browser.shown("#moves-bars"))
        eventually("the button has turned", lambda: self.focus() == "Take back node-0")

    def progress(self):
        seen = []

        def look():
            done, most, said = self.browser.run("const b = document.getElementById('moves-replicas'); return [b.value, b.max, document.getElementById('moves-said').textContent]")
            if not said.startswith("Nothing moves") and (not seen or seen[-1] != done):
                seen.append(done)
            return said.startswith("Nothing moves") or (done, most, said)

        eventually("replicas have moved", lambda: look() is True or seen[-1:] > [0])
        self.shot("4-moves")
        assert "Replicas left" in self.open_act("pause", SPACE)
        assert "Pause" in self.browser.text("#act-title")
        assert "paused" in self.confirm()
        eventually("the pause is shown", lambda: "paused" in self.browser.text("#moves-said") and "Resume" in self.browser.text("#pause"))
        eventually("it says what it waits for", lambda: "Waits: " in self.browser.text("#moves-waiting"))
        self.shot("5-paused")
        self.open_act("pause", SPACE)
        assert "go on" in self.confirm()
        eventually("the moves end", lambda: look() is True, 180)
        assert len(seen) >= 3 and seen == sorted(seen), f"progress was {seen}"
        eventually("node-0 has no shard", lambda: "up, drained" in self.node("node-0") and " 0 0 " in self.node("node-0"))
        eventually("the end is told", lambda: "finished" in self.browser.text("#plans-table"))
        owners = {node["id"]: node["shards"] for node in self.admin.ask("GET", "/topology")["nodes"]}
        assert owners == {"node-0": 0, "node-1": 256, "node-2": 256}, owners
        self.shot("6-drained")
        self.say(f"the moves were paused, resumed and seen to their end: {seen} replicas")

    def maintenance(self):
        plan = self.open_act("Maintenance of node-0")
        assert "Of these without any while it is away 0" in " ".join(plan.split()), plan
        assert "idle" in self.confirm()
        eventually("it is in maintenance", lambda: "■ maintenance" in self.node("node-0"))
        eventually("it is told", lambda: "node-0 is maintenance now" in self.browser.text("#news") or "maintenance" in self.browser.text("#acted"))
        self.open_act("End maintenance of node-0")
        assert "node-0 returns" in self.confirm()
        eventually("it serves again", lambda: "● up" in self.node("node-0"))
        # Two nodes hold everything: one may go, the other is needed then.
        self.open_act("Maintenance of node-1")
        self.confirm()
        eventually("it is in maintenance", lambda: "■ maintenance" in self.node("node-1"))
        eventually("the shards are degraded", lambda: "degraded: 256" in self.browser.text("#shards-counts"))
        self.shot("7-degraded")
        plan = self.open_act("Maintenance of node-2")
        assert self.browser.run("return document.getElementById('act-yes').disabled"), "it needs a second word"
        self.shot("8-needed", whole=False)
        self.tab_to("act-force", 10)
        self.browser.press(SPACE)
        assert not self.browser.run("return document.getElementById('act-yes').disabled")
        self.browser.press(ESCAPE)
        self.open_act("End maintenance of node-1")
        self.confirm()
        eventually("everything serves", lambda: "in sync: 256" in self.browser.text("#shards-counts"))
        self.say("maintenance begins and ends; where shards need the node a second word is asked for")

    def refused(self):
        """What the gateway refuses is said in its words."""
        self.relay.refuse = lambda path: f"no plan: {HURT}" if path == "/rebalance/plan" else None
        self.open_wish("Take back node-0", ENTER)
        eventually("why there is no plan is said", lambda: f"no plan: {HURT}" in self.browser.text("#act-said"))
        assert self.browser.run("return document.getElementById('act-yes').disabled"), "without a plan nothing is confirmed"
        self.browser.press(ESCAPE)
        self.relay.refuse = lambda path: "not now" if path.endswith("/maintenance") else None
        self.open_act("Maintenance of node-0")
        self.tab_to("act-yes", 20)
        self.browser.press(ENTER)
        eventually("why it was not done is said", lambda: "It was not done: not now" in self.browser.text("#act-said"))
        assert self.is_open() and self.focus() == "act-no", f"the focus is on {self.focus()}"
        self.shot("9-refused", whole=False)
        self.browser.press(ENTER)
        self.relay.refuse = lambda path: None
        assert "● up" in self.node("node-0")
        # A browser tells of each answer that is an error.
        told = [entry for entry in self.browser.log("browser") if "409" not in entry["message"]]
        assert not told, told
        self.say("what is refused is said in the gateway's words, and nothing else happens")

    def tasks(self):
        self.browser.run("document.activeElement.blur()")
        self.tab_to("tasks-which")
        self.browser.press(DOWN, DOWN)
        eventually("failed tasks alone are shown", lambda: "● succeeded" not in self.browser.text("#tasks-table") and "▲ failed" in self.browser.text("#tasks-table"))
        self.say("tasks are chosen by their status")

    def guarded(self):
        """Nothing from elsewhere is loaded, and text does not become markup, whoever asks for it."""
        self.no_complaints()
        outside = [url for url in self.browser.requests() if not url.startswith(self.relay.url + "/")]
        assert not outside, f"requests leave the listener: {outside}"
        other = Relay(self.relay.admin.geturl())
        fetched = self.browser.run_async("fetch(arguments[0]).then(() => arguments[1]('came'), (e) => arguments[1](e.name))", other.url)
        assert fetched == "TypeError" and not other.seen, "the policy lets a request out"
        markup = self.browser.run("try { document.getElementById('acted').innerHTML = '<b>x</b>'; return 'became markup'; } catch (e) { return e.name; }")
        assert markup == "TypeError", markup
        assert any("Content Security Policy" in entry["message"] for entry in self.browser.log("browser"))
        self.say("no complaint in the console, no request past the listener, and the policy would stop one")

    def figures(self):
        """Rates and quantiles of two looks, reckoned by the page's own module."""
        before = 'a_total{x="1"} 5\na_total{x="\\"q\\""} 1\nb_count 0\nb_bucket{le="0.1"} 0\nb_bucket{le="1"} 0\nb_bucket{le="+Inf"} 0\n'
        after = '# TYPE a_total counter\na_total{x="1"} 25\na_total{x="\\"q\\""} 3\nb_count 100\nb_bucket{le="0.1"} 50\nb_bucket{le="1"} 98\nb_bucket{le="+Inf"} 100\n'
        got = self.browser.run_async("""
            const [before, after, done] = arguments;
            import('/page/figures.js').then((f) => {
              const history = new f.History();
              history.add(0, f.parse(before));
              const first = history.rate('a_total', {});
              history.add(10_000, f.parse(after));
              const quantile = (part) => f.atMost(history.quantile('b', {}, part));
              done([first, history.rate('a_total', {}), history.rate('a_total', { x: '"q"' }), quantile(0.5), quantile(0.95), quantile(0.99),
                history.quantile('none', {}, 0.5), f.isoDuration('PT1M2.5S'), f.bytes(1536), f.duration(3700)]);
            }, (error) => done(String(error)));""", before, after)
        assert got == [None, 2.2, 0.2, "≤ 100 ms", "≤ 1 s", "longer", None, "1 min 3 s", "1.5 KiB", "1 h 1 min"], got
        self.say("rates and quantiles are reckoned rightly")

    def silence(self):
        self.relay.silent = True
        eventually("what is shown is called old", lambda: self.browser.shown("#old"))
        assert "no answer since" in self.browser.text("#old")
        assert "up" in self.node("node-1"), "what was known stays"
        self.shot("10-old", whole=False)
        self.relay.silent = False
        eventually("it is fresh again", lambda: not self.browser.shown("#old"))
        self.browser.log("browser")
        self.say("a gateway that does not answer is told, and so is its return")

    def looks(self):
        self.browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        self.shot("11-dark")
        self.browser.cdp("Emulation.setEmulatedMedia", features=[])
        self.browser.cdp("Emulation.setDeviceMetricsOverride", width=420, height=800, deviceScaleFactor=1, mobile=False)
        wider = self.browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, f"the page is {wider} px wider than a small window"
        self.shot("12-narrow")
        self.browser.cdp("Emulation.clearDeviceMetricsOverride")


def hostile(path, body):
    """As if an index and a zone had names that they cannot have."""
    path = path.split("?")[0]
    if path == "/tasks":
        answer = json.loads(body)
        for task in answer.get("results", [])[:1]:
            task["indexUid"] = HURT
        return json.dumps(answer).encode()
    if path == "/topology":
        answer = json.loads(body)
        for node in answer.get("nodes", [])[:1]:
            node["zone"] = HURT
        return json.dumps(answer).encode()
    return body


def fill(api):
    films = [{"id": number, "title": f"Film {number} of {'abcdefgh'[number % 8]}"} for number in range(3000)]
    for at in range(0, len(films), 1000):
        api.task("POST", "/indexes/films/documents", films[at : at + 1000])
    task = api.task("POST", "/indexes/films/documents", [{"id": HURT, "title": "No id is like this"}])
    assert task["status"] == "failed" and "<img" in task["error"]["message"], task
    for word in ("film", "a", "7", "nothing"):
        api.ask("POST", "/indexes/films/search", {"q": word})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admin", required=True, help="where the admin listener is")
    parser.add_argument("--api", required=True, help="where the API is")
    parser.add_argument("--key", help="of both; without it the listener must ask for none")
    parser.add_argument("--shots", default="page-shots", help="the folder of the pictures")
    given = parser.parse_args()
    programs = [shutil.which(name) for name in ("chromedriver", "chromium")]
    if not all(programs):
        sys.exit("page: chromium and chromedriver are needed")
    os.makedirs(given.shots, exist_ok=True)
    api, relay = Api(given.api, given.key), Relay(given.admin)
    fill(api)
    relay.change = hostile
    browser = Browser(*programs)
    test = Test(browser, relay, api, Api(given.admin, given.key), given.shots)
    began = time.monotonic()
    try:
        test.key(given.key)
        test.content()
        test.shot("2-page")
        test.accessible()
        relay.change = lambda path, body: body
        test.drain()
        test.progress()
        test.maintenance()
        test.refused()
        test.tasks()
        test.figures()
        test.guarded()
        test.silence()
        test.looks()
    except BaseException:
        test.shot("failed")
        for entry in browser.log("browser"):
            print("page: console:", entry["level"], entry["message"])
        raise
    finally:
        browser.close()
    test.say(f"all is well after {time.monotonic() - began:.0f} s; pictures are in {given.shots}")


if __name__ == "__main__":
    main()
