"""``deploy/``: what operators apply agrees with the code: settings, ports, paths, metrics, and the time to drain."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chat.talkers import fetch, running

from examples.chat.config import PREFIX, Settings, from_command_line

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install pyyaml")

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(DEPLOY.rglob("*.yaml"))
FLAGS = {field.name.upper(): field for field in dataclasses.fields(Settings) if "parse" in field.metadata}
AFTER_DRAIN = 5.0
"""Seconds that a node may take from the end of its drain to its own: leaving the engine, writing its logs."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    found = [one for path in FILES if path.parent.name == "kubernetes" for one in documents(path) if "kind" in one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found if one["kind"] != "Kustomization"}


MANIFESTS = manifests()
COMPOSE = documents(DEPLOY / "compose.yaml")[0]
POD = MANIFESTS["Deployment", "chat"]["spec"]["template"]["spec"]
(CHAT,) = POD["containers"]
ENVIRON = {one["name"]: one.get("value") for one in CHAT["env"]}
PORT = Settings().port


def values(environ: dict[str, Any]) -> dict[str, str]:
    """What the settings would be told, as far as it stands in the file."""
    plain = {name: value for name, value in environ.items() if value is not None and "${" not in value}
    return {name: value for name, value in plain.items() if name.startswith(PREFIX)}


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text("utf-8")


# ---- what all files have in common ----


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_files_can_be_read(path: Path) -> None:
    """And name no setting that there is not."""
    assert documents(path)
    for name in re.findall(rf"\b{PREFIX}([A-Z_]+)\b", path.read_text("utf-8")):
        assert name in FLAGS, f"{path.name}: the server has no {PREFIX}{name}"


@pytest.mark.parametrize(
    "environ", [ENVIRON, COMPOSE["services"]["chat"]["environment"]], ids=["kubernetes", "compose"]
)
def test_settings_are_what_the_server_takes(environ: dict[str, Any]) -> None:
    """Each value is one that the server understands; the engine's address is given, not on a command line."""
    settings = from_command_line([], values(environ))
    assert settings.metrics
    assert settings.uvloop
    assert settings.log_format == "json"
    assert PREFIX + "BROKER" in environ
    assert "args" not in CHAT
    assert "command" not in CHAT
    # The processes write nothing, as their file systems are read-only.
    assert not settings.data
    assert not settings.log_file


def test_no_secret_is_in_a_file() -> None:
    """But the example's."""
    for path in FILES:
        for found in re.findall(r"redis[s]?://\S*", path.read_text("utf-8")):
            assert re.search(r"\$\{?\w+\}?@|change-me@|user:password@", found), f"{path.name}: {found}"
    assert "secret.example.yaml" not in documents(DEPLOY / "kubernetes" / "kustomization.yaml")[0]["resources"]


# ---- the image ----


def test_image() -> None:
    """It listens where the probes ask, is not root, and gets signals itself."""
    text = dockerfile()
    assert f"{PREFIX}PORT={PORT}" in text
    assert f"EXPOSE {PORT}" in text
    assert f"{PREFIX}HOST=0.0.0.0" in text
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert 'ENTRYPOINT ["python", "-m", "examples.chat"]' in text
    assert POD["securityContext"]["runAsUser"] == 10001
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (extras,) = re.findall(r"'\.\[([\w,-]+)\]'", text)
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"there is no extra {extra}"
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split()), source


def test_images_have_versions() -> None:
    """No tag that means something else tomorrow."""
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += [one["image"] for pod in pods() for one in pod["containers"] if one["image"] != "gochan-chat"]
    assert all(re.search(r":\d[\w.-]*$", image) for image in images), images
    (named,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")[0]["images"]
    assert named["name"] == "gochan-chat"
    assert re.match(r"\d", str(named["newTag"]))


# ---- Kubernetes ----


def pods() -> Iterator[dict[str, Any]]:
    for kind in ("Deployment", "StatefulSet"):
        for (kind_, _), manifest in MANIFESTS.items():
            if kind_ == kind:
                yield manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("pod", list(pods()), ids=lambda pod: pod["containers"][0]["name"])
def test_pods_have_no_rights(pod: dict[str, Any]) -> None:
    """What the `restricted` standard asks for, and a file system that cannot be written to."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        rights = container["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]


def test_time_to_drain() -> None:
    """A node that is told to end is not killed before its drain is over, on Kubernetes and with Compose."""
    settings = from_command_line([], values(ENVIRON))
    (program, seconds) = CHAT["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    least = float(seconds) + settings.drain_timeout + 2 * settings.linger + AFTER_DRAIN
    assert POD["terminationGracePeriodSeconds"] >= least
    assert settings.drain_spread < settings.drain_timeout
    chat = COMPOSE["services"]["chat"]
    settings = from_command_line([], values(chat["environment"]))
    least = settings.drain_timeout + 2 * settings.linger + AFTER_DRAIN
    assert float(chat["stop_grace_period"].removesuffix("s")) >= least


async def test_probes_and_scrapes_are_answered() -> None:
    """By the paths and under the names that are written in the files, at the right port."""
    annotations = MANIFESTS["Deployment", "chat"]["spec"]["template"]["metadata"]["annotations"]
    assert CHAT["ports"] == [{"name": "http", "containerPort": PORT}]
    assert annotations["prometheus.io/port"] == str(PORT)
    probes = [CHAT[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert all(probe["port"] == "http" for probe in probes)
    paths = {probe["path"] for probe in probes}
    for text in (dockerfile(), json.dumps(COMPOSE["services"]["chat"]["healthcheck"])):
        paths |= set(re.findall(rf"127\.0\.0\.1:{PORT}(/\w+)", text))
    assert paths == {"/readyz", "/healthz"}
    async with running() as server:
        for path in paths:
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"  # an address, as a probe says it
            assert (await fetch(server, request.encode()))[0] == 200


def test_it_scales_by_a_metric_that_there_is() -> None:
    """The autoscaler asks for what the adapter makes from what the server counts, and of the deployment there is."""
    scaler = MANIFESTS["HorizontalPodAutoscaler", "chat"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}
    assert "replicas" not in MANIFESTS["Deployment", "chat"]["spec"]
    (metric,) = [one["pods"]["metric"]["name"] for one in scaler["metrics"] if one["type"] == "Pods"]
    (rule,) = documents(DEPLOY / "kubernetes" / "prometheus-adapter.values.yaml")[0]["rules"]["custom"]
    assert rule["name"]["as"] == metric
    series = rule["seriesQuery"].partition("{")[0]
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "examples" / "chat").rglob("*.py"))
    assert re.search(rf'\.gauge\("{series}"', sources), f"the server has no gauge {series}"


def test_who_finds_whom() -> None:
    """Services, budgets and policies select pods that there are; the ports are theirs; the secret has its keys."""
    labels = {
        name: MANIFESTS[kind, name]["spec"]["template"]["metadata"]["labels"]
        for kind, name in (("Deployment", "chat"), ("StatefulSet", "valkey"))
    }
    selectors = {name: MANIFESTS["Service", name]["spec"]["selector"] for name in labels}
    for name, selector in selectors.items():
        assert selector.items() <= labels[name].items()
        assert MANIFESTS["NetworkPolicy", name]["spec"]["podSelector"]["matchLabels"] == selector
    budget = MANIFESTS["PodDisruptionBudget", "chat"]["spec"]
    assert budget["selector"]["matchLabels"] == selectors["chat"]
    assert MANIFESTS["NetworkPolicy", "deny-all"]["spec"]["podSelector"] == {}
    engine = MANIFESTS["StatefulSet", "valkey"]["spec"]["template"]["spec"]["containers"][0]
    (port,) = [one["containerPort"] for one in engine["ports"]]
    policy = MANIFESTS["NetworkPolicy", "chat"]["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": PORT}]
    assert policy["egress"][0]["ports"] == [{"protocol": "TCP", "port": port}]
    assert MANIFESTS["NetworkPolicy", "valkey"]["spec"]["ingress"][0]["ports"] == policy["egress"][0]["ports"]
    secret = MANIFESTS["Secret", "gochat-engine"]
    for one in [*CHAT["env"], *engine["env"]]:
        if wanted := one.get("valueFrom", {}).get("secretKeyRef"):
            assert wanted["name"] == secret["metadata"]["name"]
            assert wanted["key"] in secret["stringData"]
    assert secret["stringData"][PREFIX + "BROKER"].endswith(f"@valkey:{port}/0")


@pytest.mark.parametrize(
    "command",
    [
        json.dumps(COMPOSE["services"]["valkey"]["command"]),
        json.dumps(MANIFESTS["StatefulSet", "valkey"]["spec"]["template"]["spec"]["containers"][0]["args"]),
    ],
    ids=["compose", "kubernetes"],
)
def test_the_engine_keeps_what_it_acknowledges(command: str) -> None:
    """On disk at once, nothing thrown away, and nobody in without the password: what the broker asks of it."""
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction", "--requirepass"):
        assert option in command


# ---- Compose, and the proxy ----


def test_compose_has_limits() -> None:
    """Every container; only the proxy has a port of the machine, and Valkey is reached from inside alone."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["healthcheck"]["test"], name
        assert ("ports" in service) == (name == "proxy")
    assert COMPOSE["services"]["valkey"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_the_proxy_passes_websockets_on() -> None:
    """With the Host that browsers said, longer than the silence between two pings, and without what is private."""
    text = (DEPLOY / "nginx" / "nginx.conf").read_text("utf-8")
    assert f"set $nodes chat:{PORT};" in text
    for line in ("Host $http_host", "Upgrade $http_upgrade", "Connection $connection_upgrade"):
        assert f"proxy_set_header {line};" in text
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", text)
    assert float(seconds) >= 2 * Settings().ping_interval
    for path in ("/metrics", "/debug"):
        assert f"location = {path} {{ return 404; }}" in text


@pytest.mark.slow
def test_tools_accept_the_files(tmp_path: Path) -> None:
    """kubectl builds the manifests, and Compose understands its file, where they are installed."""
    if shutil.which("kubectl"):
        subprocess.run(
            ["kubectl", "kustomize", str(DEPLOY / "kubernetes")], check=True, timeout=60, stdout=subprocess.DEVNULL
        )
    compose = shutil.which("docker-compose")
    if compose:
        subprocess.run(
            [compose, "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"],
            check=True,
            timeout=60,
            env={"VALKEY_PASSWORD": "x", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
