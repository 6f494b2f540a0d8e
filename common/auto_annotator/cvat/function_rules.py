"""The rules of one Nuclio function file: what Nuclio and CVAT accept in silence and then do not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auto_annotator.config import Settings
from auto_annotator.cvat.annotation_rules import Problem, annotation_problems, is_service, project_problems

KEYS: dict[str, frozenset[str]] = {
    "": frozenset({"apiVersion", "kind", "metadata", "spec"}),
    "metadata": frozenset({"name", "namespace", "labels", "annotations"}),
    "spec": frozenset(
        {"description", "runtime", "handler", "eventTimeout", "readinessTimeoutSeconds", "env", "volumes", "resources", "build"}
        | {"triggers", "platform", "disableDefaultHTTPTrigger", "securityContext", "devices"}
    ),
    "spec.build": frozenset({"image", "baseImage", "directives", "commands", "noCache"}),
    "spec.platform": frozenset({"attributes"}),
    "spec.platform.attributes": frozenset({"network", "restartPolicy", "healthCheckInterval"}),
    "spec.resources": frozenset({"limits"}),
    "spec.resources.limits": frozenset({"nvidia.com/gpu", "cpu", "memory"}),
}
"""Keys that Nuclio's local platform really reads; `mountMode`, requests and others it does not."""

TRIGGER_KEYS = frozenset({"kind", "name", "numWorkers", "workerAvailabilityTimeoutMilliseconds", "attributes"})
TRIGGER_ATTRIBUTES = frozenset({"maxRequestBodySize", "port"})
RESERVED_FILES = frozenset({"whl", "wrapper_common.py", "_nuclio_wrapper.py"})
"""Names that Nuclio itself puts into /opt/nuclio beside the handler."""

RUNTIME = "python:3.11"
"""The one that every Nuclio of CVAT 2.15 and later has and that cvat-sdk accepts."""

GPU = "nvidia.com/gpu"
CVAT_TIMEOUT_SECONDS = 120
"""CVAT's client gives up then; also Nuclio's default of readinessTimeoutSeconds, too short for a first model load."""

CVAT_BODY_LIMIT = 33554432
"""maxRequestBodySize of CVAT's own functions in bytes."""

PORTS = range(1024, 32768)
"""Unprivileged, and below the range from which Linux and Docker hand out ports by chance."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_QUALIFIED = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HANDLER = re.compile(r"(?P<module>\w+):(?P<function>\w+)")
_FROM = re.compile(r"^FROM\s+(?:--platform=\S+\s+)?(?:\S+/)?python:(\d+\.\d+)", re.MULTILINE)


def at(data: object, path: str) -> Any:
    """The value at a dotted path of nested mappings, None where a step is missing."""
    for key in path.split(".") if path else []:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def file_problems(path: Path, data: object, deploy: Path) -> Iterator[Problem]:
    """Everything wrong with one function file.

    Args:
        path: the file; its folder is the handler's.
        data: its parsed content.
        deploy: folder with the `Dockerfile` of all base images, or `Dockerfile.<tag>` of a single one, which goes first.

    Yields:
        Rule and message of each problem.
    """
    yield from _key_problems(data)
    yield from _identity_problems(data)
    labels = at(data, "metadata.labels")
    yield from project_problems(labels)
    yield from annotation_problems(at(data, "metadata.annotations"), service=is_service(labels))
    yield from _handler_problems(path, data)
    yield from _image_problems(data, deploy)
    yield from _time_problems(data)
    yield from _env_problems(at(data, "spec.env"))
    yield from _device_problems(path, data)
    yield from _trigger_problems(at(data, "spec.triggers"))
    yield from _platform_problems(data)


def _key_problems(data: object) -> Iterator[Problem]:
    for path, allowed in KEYS.items():
        value = at(data, path)
        if value is None and path.startswith("spec."):
            continue
        if not isinstance(value, dict):
            yield "key", f"{path or 'file'}: got {type(value).__name__}, expected a mapping"
            continue
        unknown = sorted(str(key) for key in value.keys() - allowed)
        yield from (("key", f"{f'{path}.' if path else ''}{key}: Nuclio would ignore this key; a slip?") for key in unknown)


def _identity_problems(data: object) -> Iterator[Problem]:
    name = at(data, "metadata.name")
    if not isinstance(name, str) or not _QUALIFIED.fullmatch(name):
        yield "name", f"metadata.name is {name!r}, expected a-z, 0-9 and hyphens, at most 63"
    description = at(data, "spec.description")
    if not isinstance(description, str) or not description.strip():
        yield "description", "spec.description is missing; CVAT then cannot list any function"


def _handler_problems(path: Path, data: object) -> Iterator[Problem]:
    match = _HANDLER.fullmatch(str(at(data, "spec.handler")))
    source = path.parent / f"{match['module']}.py" if match else None
    if match is None or source is None or not source.is_file():
        yield "handler", f"spec.handler is {at(data, 'spec.handler')!r}, expected module:function with the module beside this file"
    elif not re.search(rf"^(async )?def {match['function']}\(", source.read_text(encoding="utf-8"), re.MULTILINE):
        yield "handler", f"{source.name} has no function {match['function']}"
    for entry in sorted(RESERVED_FILES & {entry.name for entry in path.parent.iterdir()}):
        yield "folder", f"{entry}: Nuclio puts a file of that name there itself"


def _image_problems(data: object, deploy: Path) -> Iterator[Problem]:
    """Runtime and base image, which must bring one Python; a base image whose Dockerfile is not at hand is not judged."""
    if at(data, "spec.runtime") != RUNTIME:
        yield "runtime", f"spec.runtime is {at(data, 'spec.runtime')!r}, expected {RUNTIME}"
    base = at(data, "spec.build.baseImage")
    if not isinstance(base, str) or ":" not in base:
        yield "image", f"spec.build.baseImage is {base!r}, expected name:tag"
        return
    own = deploy / f"Dockerfile.{base.rpartition(':')[2]}"
    dockerfile = own if own.is_file() else deploy / "Dockerfile"
    if dockerfile.is_file() and base_python(dockerfile.read_text(encoding="utf-8")) != str(at(data, "spec.runtime"))[7:]:
        yield (
            "runtime",
            f"{dockerfile.name} does not bring the Python of {at(data, 'spec.runtime')}; Nuclio's wheels would not install",
        )
    if at(data, "spec.build.noCache"):
        yield "image", "spec.build.noCache pulls the base image, which is only on this host"


def base_python(dockerfile: str) -> str | None:
    """Python version of the last `FROM python:X.Y` of a Dockerfile, its ARG defaults filled in; None if there is none."""
    for name, value in re.findall(r"^ARG\s+(\w+)=(\S+)", dockerfile, re.MULTILINE):
        dockerfile = dockerfile.replace("${" + name + "}", value).replace(f"${name}", value)
    versions = _FROM.findall(dockerfile)
    return versions[-1] if versions else None


def duration_seconds(text: object) -> float | None:
    """Seconds of a Go duration such as `180s` or `1m30s`; None for anything else."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        return None
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text))


def _time_problems(data: object) -> Iterator[Problem]:
    timeout = duration_seconds(at(data, "spec.eventTimeout"))
    if timeout is None or timeout < CVAT_TIMEOUT_SECONDS:
        got = at(data, "spec.eventTimeout")
        yield "time", f"spec.eventTimeout is {got!r}, expected a duration of at least {CVAT_TIMEOUT_SECONDS}s"
    ready = at(data, "spec.readinessTimeoutSeconds")
    if type(ready) is not int or ready <= CVAT_TIMEOUT_SECONDS:
        yield (
            "time",
            f"spec.readinessTimeoutSeconds is {ready!r}, expected more than {CVAT_TIMEOUT_SECONDS} for the first model load",
        )


def _env_problems(env: object) -> Iterator[Problem]:
    known = {f"AUTO_ANNOTATOR_{name.upper()}" for name in Settings.model_fields}
    seen: set[str] = set()
    if not isinstance(env, list):
        yield "env", f"spec.env: got {type(env).__name__}, expected a list with at least AUTO_ANNOTATOR_DEVICE"
    for entry in env if isinstance(env, list) else []:
        name, value = at(entry, "name"), at(entry, "value")
        if not isinstance(entry, dict) or set(entry) != {"name", "value"} or not isinstance(value, str):
            yield "env", f"{name}: expected a name and a literal value in quotes; the local platform knows nothing else"
        if str(name).startswith("AUTO_ANNOTATOR_") and name not in known:
            yield "env", f"{name}: no such setting"
        if name in seen:
            yield "env", f"{name}: there twice"
        seen.add(str(name))


def _device_problems(path: Path, data: object) -> Iterator[Problem]:
    is_gpu_file = path.name == "function-gpu.yaml"
    limits = at(data, "spec.resources.limits") or {}
    env = at(data, "spec.env")
    device = {at(e, "name"): at(e, "value") for e in (env if isinstance(env, list) else [])}.get("AUTO_ANNOTATOR_DEVICE")
    if isinstance(limits, dict) and (limits.get(GPU, 0) not in (0, "0")) != is_gpu_file:
        yield "device", f"{path.name}: resources.limits must {'' if is_gpu_file else 'not '}ask for {GPU}"
    if device not in (("cuda", "tensorrt") if is_gpu_file else ("cpu",)):
        yield "device", f"{path.name}: AUTO_ANNOTATOR_DEVICE is {device!r}; a GPU file says cuda, so that a missing GPU is an error"


def _trigger_problems(triggers: object) -> Iterator[Problem]:
    entries = triggers if isinstance(triggers, dict) else {}
    http = {key: value for key, value in entries.items() if at(value, "kind") == "http"}
    if len(http) != 1 or len(entries) != 1:
        yield "trigger", f"got {len(http)} http triggers of {len(entries)}, expected one and no other"
    for key, trigger in http.items():
        if trigger.get("name", key) != key:
            yield "trigger", f"{key}: name is {trigger['name']!r}, expected the key"
        if "maxWorkers" in trigger:
            yield "workers", f"{key}: maxWorkers is gone from Nuclio 1.15; use numWorkers"
        unknown = sorted(trigger.keys() - TRIGGER_KEYS - {"maxWorkers"})
        yield from (("trigger", f"{key}.{name}: unknown, or a mode that CVAT's one-by-one calls cannot use") for name in unknown)
        for name in ("numWorkers", "workerAvailabilityTimeoutMilliseconds"):
            if type(trigger.get(name)) is not int or trigger[name] < 1:
                yield "workers", f"{key}.{name} is {trigger.get(name)!r}, expected a whole number from 1"
        yield from _http_problems(key, trigger.get("attributes"))


def _http_problems(key: str, attributes: object) -> Iterator[Problem]:
    if not isinstance(attributes, dict):
        yield "trigger", f"{key}.attributes is missing"
        return
    yield from (("trigger", f"{key}.attributes.{name}: unknown key") for name in sorted(attributes.keys() - TRIGGER_ATTRIBUTES))
    port, limit = attributes.get("port"), attributes.get("maxRequestBodySize")
    if type(port) is not int or port not in PORTS:
        yield "port", f"{key}.attributes.port is {port!r}, expected a number of {PORTS.start}..{PORTS.stop - 1}"
    if type(limit) is not int or limit < CVAT_BODY_LIMIT:
        yield (
            "body",
            f"{key}.attributes.maxRequestBodySize is {limit!r}, expected at least {CVAT_BODY_LIMIT} as CVAT's own functions",
        )


def _platform_problems(data: object) -> Iterator[Problem]:
    interval = at(data, "spec.platform.attributes.healthCheckInterval")
    if interval is not None and duration_seconds(interval) is None:
        yield "platform", f'healthCheckInterval is {interval!r}, expected text such as "5s"'
    policy = at(data, "spec.platform.attributes.restartPolicy")
    if at(policy, "name") not in ("always", "on-failure", "unless-stopped"):
        yield "platform", "restartPolicy.name is missing; the function would not come back after a crash"
    elif at(policy, "maximumRetryCount") is not None and at(policy, "name") != "on-failure":
        yield "platform", "restartPolicy.maximumRetryCount counts only with on-failure"
    volumes = at(data, "spec.volumes")
    if volumes is not None and not isinstance(volumes, list):
        yield "volume", f"spec.volumes: got {type(volumes).__name__}, expected a list"
    for entry in volumes if isinstance(volumes, list) else []:
        if at(entry, "volume.hostPath.path") is None or at(entry, "volume.name") != at(entry, "volumeMount.name"):
            yield "volume", "only hostPath volumes are mounted, with one name for volume and volumeMount"
