"""Lints the chart with Helm's own library: every values file of charts/miroir/ci must pass, bad values must not."""
import asyncio
import base64
import copy
import json
import os
import pathlib
import re
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
    "two gateways on a state file": {"replicas": 2},
    "any number of gateways on a state file": {"autoscaling": {"enabled": True}},
    "gateways that share a state without a secret": {"config": {"state": "postgres://miroir@db/miroir"}},
    "one id for all gateways": {"config": {"gateway": {"id": "gw"}}},
    "a state of no kind": {"config": {"state": "mysql://db/miroir"}},
}
# What a values file makes of the gateways: kinds of objects with a text that one of them has, and one that none has.
SHOWN = {
    "ci/own-nodes-values.yaml": (
        "statefulset.yaml",
        {"StatefulSet"},
        ["replicas: 1\n", "volumeClaimTemplates:"],
        ["POD_IP", "preStop", "7702"],
    ),
    "ci/postgres-values.yaml": (
        "deployment.yaml",
        {"Deployment", "PodDisruptionBudget"},
        ["replicas: 3\n", 'command: [sleep, "5"]', "key: cluster-secret", "fieldPath: status.podIP", "ScheduleAnyway"],
        ["volumeClaimTemplates", "MIROIR_PEER_SCHEME"],
    ),
    "ci/autoscaled-values.yaml": (
        "deployment.yaml",
        {"Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler"},
        ["minReplicas: 3\n", "claimName: dumps", "MIROIR_PEER_SCHEME, value: https", "DoNotSchedule", "/etc/miroir-tls"],
        ["replicas: 1\n"],
    ),
}
# The gateways' configuration that comes of it.
CONFIGURED = {
    "ci/own-nodes-values.yaml": {"state": "sqlite:/var/lib/miroir/miroir.db", "gateway": None, "cluster_secret": None},
    "ci/postgres-values.yaml": {
        "state": "postgres://miroir@db-1:5432,db-2:5432/miroir?sslmode=verify-full",
        "state_password": "${MIROIR_STATE_PASSWORD:-}",
        "cluster_secret": "${MIROIR_CLUSTER_SECRET}",
        "gateway": {
            "id": "${POD_NAME}",
            "peer_listen": "0.0.0.0:7702",
            "peer_url": "${MIROIR_PEER_SCHEME:-http}://${POD_IP}:7702",
            "alone": "2m",
            "leader_wait": "10s",
        },
    },
}


def merged(base, over):
    out = copy.deepcopy(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


async def lint(values, more=""):
    """The messages of Helm's linter for the chart with these values, and one template more; it renders every template."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder, "miroir")
        shutil.copytree(CHART, chart)
        chart.joinpath("templates", "more.yaml").write_text(more)
        chart.joinpath("values.yaml").write_text(yaml.safe_dump(values))
        answer = await helm_sdkpy.Lint(helm_sdkpy.Configuration()).run(str(chart))
        return answer


async def rendered(values, template):
    """A template as Helm renders it. Its linter says on standard error what a template fails with."""
    more = '{{- fail (include (print $.Template.BasePath "/%s") . | b64enc) }}' % template
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            await lint(values, more)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        found = re.search(rb'message="?([A-Za-z0-9+/=]+)', said.read())
    assert found, f"{template} was not rendered"
    return base64.b64decode(found[1]).decode()


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
    for name, (template, kinds, has, has_not) in SHOWN.items():
        text = await rendered(merged(base, cases[name]), template)
        objects = [object for object in yaml.safe_load_all(text) if object]
        note(f"{name} makes {', '.join(sorted(kinds))}", {object["kind"] for object in objects} == kinds, text)
        missing = [part for part in has if part not in text] + [part for part in has_not if part in text]
        note(f"{name} has in {template} what it should", not missing, f"{missing} in\n{text}")
    for name, expected in CONFIGURED.items():
        text = await rendered(merged(base, cases[name]), "configmap.yaml")
        config = yaml.safe_load(yaml.safe_load(text)["data"]["miroir.yaml"])
        found = {key: config.get(key) for key in expected}
        note(f"{name} configures the state", found == expected, found)
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
