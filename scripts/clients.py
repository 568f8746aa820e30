#!/usr/bin/env python3
"""Runs an official client's own tests against one node, then against a gateway before three, and names the tests that differ.

    scripts/clients.py CHECKOUT --node MEILISEARCH --gateway MIROIR [--only WHAT] [--reports FOLDER]

CHECKOUT is a clone of the Python, JavaScript, Rust or Ruby client in which its tests can run: by `pytest`, `vitest` in `node_modules`,
`cargo`, or `rspec` with its gems. Each test that passes on the node must pass through the gateway, or stand in docs/clients.md. WHAT is
handed to the runner: a file, or a folder. FOLDER keeps what the runner reports, and a log of its output.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree

KEY = "masterKey"
ROOT = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url, process):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with {process.returncode}")
        try:
            return urllib.request.urlopen(f"{url}/health", timeout=1).close()
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{url} does not answer")


def start(command, folder, url):
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    answers(url, process)
    return process


def start_node(program, folder):
    folder.mkdir()
    url = f"http://127.0.0.1:{free_port()}"
    # Webhooks and remotes of the tests are on this machine.
    flags = ["--no-analytics", "--master-key", KEY, "--http-addr", url.removeprefix("http://"), "--experimental-allowed-ip-networks", "any"]
    return url, start([program, *flags], folder, url)


def start_gateway(program, folder, nodes):
    folder.mkdir()
    url, metrics, admin = (f"127.0.0.1:{free_port()}" for _ in range(3))
    lines = [f"listen: {url}", f"metrics: {metrics}", f"admin: {admin}", f"master_key: {KEY}", f"node_key: {KEY}", "cluster:", "  nodes:"]
    lines += [f"    - {{ id: node-{at}, url: '{node}' }}" for at, node in enumerate(nodes)]
    (folder / "miroir.yaml").write_text("\n".join(lines) + "\n")
    return f"http://{url}", start([program, "serve", "--config", "miroir.yaml"], folder, f"http://{url}")


def outcomes(checkout, urls, only, report):
    """The name of each test, and whether it passed; tests that were left out are not among them. Of those that share a name the n-th is told
    apart by its number."""
    host, port = urls[0].removeprefix("http://").split(":")
    # The second is what the first exports to.
    env = {**os.environ, "MEILISEARCH_URL": urls[0], "MEILISEARCH_URL_2": urls[1], "MEILISEARCH_API_KEY": KEY}
    read = of_junit
    if (checkout / "package.json").exists():
        # Vitest begins with what failed or took long the last time; what a file leaves switched on would then meet other files each time.
        shutil.rmtree(checkout / "node_modules/.vite/vitest", ignore_errors=True)
        command = ["npx", "vitest", "run", "--reporter=junit", f"--outputFile={report}", *only]
    elif (checkout / "Cargo.toml").exists():
        command, read = ["cargo", "test", "--lib", *only, "--", "--test-threads", "2"], of_cargo
        report = report.with_suffix(".log")
    elif (checkout / ".rspec").exists():
        env |= {"MEILISEARCH_URL": host, "MEILISEARCH_PORT": port, "DISABLE_COVERAGE": "1"}
        command, read = ["rspec", "-I", "lib", "--seed", "7", "--format", "json", "--out", report, *only], of_rspec
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", f"--junitxml={report}", *only]
    with open(report.with_suffix(".log"), "w") as output:
        subprocess.run(command, cwd=checkout, env=env, stdout=output, stderr=subprocess.STDOUT)
    if not report.exists():
        sys.exit(f"{command[0]} wrote no report")
    said, met = {}, collections.Counter()
    for suite, test, passed in read(report):
        met[suite, test] += 1
        said[suite, test, met[suite, test]] = passed
    if not said:
        sys.exit(f"{command[0]} ran no test: {report.with_suffix('.log')}")
    return said


def of_junit(report):
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is None:
            yield case.get("classname"), case.get("name"), case.find("failure") is None and case.find("error") is None


def of_cargo(report):
    for test, outcome in re.findall(r"^test (\S+) \.\.\. .*?(ok|FAILED)$", report.read_text(), re.MULTILINE):
        yield "", test, outcome == "ok"


def of_rspec(report):
    for example in json.loads(report.read_text())["examples"]:
        if example["status"] != "pending":
            yield example["file_path"], example["full_description"], example["status"] == "passed"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("checkout", type=pathlib.Path)
    arguments.add_argument("--node", required=True, type=os.path.abspath)
    arguments.add_argument("--gateway", required=True, type=os.path.abspath)
    arguments.add_argument("--only", action="append", default=[])
    arguments.add_argument("--reports", type=pathlib.Path)
    given = arguments.parse_args()
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        reports = given.reports.absolute() if given.reports else folder
        reports.mkdir(parents=True, exist_ok=True)
        try:
            second, process = start_node(given.node, folder / "second")
            processes.append(process)
            url, process = start_node(given.node, folder / "one")
            processes.append(process)
            of_one = outcomes(given.checkout, (url, second), given.only, reports / "one.xml")
            nodes = []
            for at in range(3):
                url, process = start_node(given.node, folder / f"node-{at}")
                nodes.append(url)
                processes.append(process)
            url, process = start_gateway(given.gateway, folder / "gateway", nodes)
            processes.append(process)
            of_many = outcomes(given.checkout, (url, second), given.only, reports / "many.xml")
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()
    told = ROOT.joinpath("docs/clients.md").read_text()
    lost = sorted(name for name, passed in of_one.items() if passed and not of_many.get(name))
    new = 0
    for suite, test, _ in lost:
        # Vitest names a test by its groups and, here, by the key that is used.
        own = test.split(" > ")[-1].split(" key: ")[-1]
        known = f"`{own}`" in told
        new += not known
        print(f"{'explained' if known else 'NEW'}: {suite} {test}")
    for what, missing in [("through the gateway", of_one.keys() - of_many.keys()), ("on one node", of_many.keys() - of_one.keys())]:
        for suite, test, _ in sorted(missing):
            print(f"not run {what}: {suite} {test}")
    print(f"on one node {sum(of_one.values())} of {len(of_one)}, through the gateway {sum(of_many.values())} of {len(of_many)}")
    print(f"{sum(passed and bool(of_many.get(name)) for name, passed in of_one.items())} passed, {new} failed")
    sys.exit(new > 0)


main()
