"""Lints the chart with Helm's own library: every values file of charts/miroir/ci must pass, bad values must not."""
import asyncio
import copy
import json
import pathlib
import shutil
import sys
import tempfile

import helm_sdkpy
import yaml

CHART = pathlib.Path("charts/miroir")
REFUSED = {
    "an unknown value": {"nonsense": 1},
    "no shards": {"config": {"cluster": {"shards": 0}}},
    "a node without a URL": {"config": {"cluster": {"nodes": [{"id": "a"}]}}},
    "a port out of range": {"service": {"port": 70000}},
    "an image without a repository": {"image": {"repository": ""}},
}


def merged(base, over):
    out = copy.deepcopy(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


async def lint(values):
    """The messages of Helm's linter for the chart with these values; it renders every template."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder, "miroir")
        shutil.copytree(CHART, chart)
        chart.joinpath("values.yaml").write_text(yaml.safe_dump(values))
        answer = await helm_sdkpy.Lint(helm_sdkpy.Configuration()).run(str(chart))
        return answer


async def main():
    base = yaml.safe_load(CHART.joinpath("values.yaml").read_text())
    passed = failed = 0

    def note(name, good, why):
        nonlocal passed, failed
        passed, failed = passed + good, failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {name}" + ("" if good else f": {why}"))

    cases = {"ci/" + path.name: yaml.safe_load(path.read_text()) for path in sorted(CHART.joinpath("ci").glob("*.yaml"))}
    assert cases, "no values files"
    for name, over in cases.items():
        answer = await lint(merged(base, over))
        bad = [m for m in answer["Messages"] or [] if m["Severity"] >= 2]
        note(name, not bad and not answer["Errors"], json.dumps(answer))
    for name, over in REFUSED.items():
        try:
            answer = await lint(merged(base, over))
            bad = answer["Errors"] or [m for m in answer["Messages"] or [] if m["Severity"] >= 3]
        except helm_sdkpy.HelmError as error:
            bad = [str(error)]
        note(f"refuses {name}", bool(bad), "accepted")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


asyncio.run(main())
