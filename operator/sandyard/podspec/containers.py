"""The containers of a sandbox's pod: the proof, the setup, the proof that its network is closed again, the main one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from sandyard.api import names, quantity
from sandyard.api.network import Network
from sandyard.api.pool import WarmProbe
from sandyard.api.template import EnvVar, Resources, Template
from sandyard.api.variables import is_settable
from sandyard.podspec import network
from sandyard.podspec.network import Reach

__all__ = ["KEEPER", "NODE_ADDRESS", "RESTART_COMMAND", "RESTART_EXIT_CODE", "Probe", "cleaning", "closing",
           "labels_at_first", "main", "opened_for_setup", "probing", "reaches", "resources", "restarting",
           "setting_up"]  # fmt: skip

# An idle process that ends at once on TERM: it is not process 1 (the pause container is), so
# the default action of the signal holds. Images whose own command would exit work with it.
KEEPER: Final = ("sleep", "2147483647")
# What the operator runs in the container that restarts a pod: SIGUSR1 to every process of that
# container's user but the shell itself. The tenant is another user, and can neither send it nor
# end that container in this way; the kubelet ends it by TERM or KILL, which exit otherwise.
RESTART_COMMAND: Final = ("/bin/sh", "-c", "kill -USR1 -1")
RESTART_EXIT_CODE: Final = 128 + 10
# The one variable that a proof may have; the kubelet fills it in. As the API server completes it.
NODE_ADDRESS: Final = {
    "name": "SANDYARD_NODE_ADDRESS",
    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}},
}
_PROBE_MEMORY: Final = "128Mi"
_PROBE_REQUEST: Final = "32Mi"
_MOUNTS: Final = [
    {"name": names.WORKSPACE_VOLUME, "mountPath": "/workspace"},
    {"name": names.TMP_VOLUME, "mountPath": "/tmp"},
]


@dataclass(frozen=True)
class Probe:
    """How the init container proves isolation.

    Attributes
    ----------
    image
        The operator's own image.
    forbidden
        ``host:port`` of destinations that must be out of reach, the API server's first; ``node:port`` is the
        node that the pod comes to run on.
    runtime, network
        ``Required`` or ``BestEffort``.
    """

    image: str
    pull_policy: str
    forbidden: tuple[str, ...]
    runtime: str = "Required"
    network: str = "Required"
    timeout_seconds: int = 20


def opened_for_setup(template: Template) -> Reach | None:
    """The network that is open while the setup runs and has to be closed after it; None if there is none.

    One that is just the template's own stays as it is.
    """
    wanted = template.setup.network if template.setup is not None else None
    if wanted is None or wanted.egress == names.EGRESS_NONE:
        return None
    same = network.allowance(Reach(wanted, template.dns)) == network.allowance(Reach(template.network, template.dns))
    return None if same and wanted.egress == template.network.egress else Reach(wanted, template.dns)


def labels_at_first(template: Template) -> dict[str, str]:
    """Labels that choose the network of a new pod of *template*.

    Closed; or, as the API server is out of reach under every profile, what the setup needs.
    """
    own = network.labels(Reach(template.network, template.dns))
    opened = opened_for_setup(template)
    if opened is None:
        return {**own, names.LABEL_EGRESS: names.EGRESS_NONE}
    # An allowance of the template's own would keep the cluster's DNS from a setup that may use it.
    own.pop(names.LABEL_ALLOW, None)
    return {**own, **network.labels(opened)}


def main(template: Template, env: Sequence[EnvVar], health: WarmProbe | None) -> dict[str, Any]:
    """The sandbox itself."""
    container: dict[str, Any] = {
        "name": names.CONTAINER,
        "image": template.image,
        "workingDir": template.working_dir,
        "env": _environment(template, env),
        "resources": resources(template.resources),
        "securityContext": security(template),
        "volumeMounts": _MOUNTS,
    }
    if health is not None:
        container["readinessProbe"] = {
            "exec": {"command": list(health.command)},
            "periodSeconds": health.period_seconds,
            "timeoutSeconds": health.timeout_seconds,
            "failureThreshold": health.failure_threshold,
        }
    if template.image_pull_policy:
        container["imagePullPolicy"] = template.image_pull_policy
    if template.command:
        container["command"] = [_literal(word) for word in template.command]
    elif not template.args:
        container["command"] = list(KEEPER)
    if template.args:
        container["args"] = [_literal(word) for word in template.args]
    return container


def _literal(word: str) -> str:
    """Kubernetes expands ``$(NAME)`` in commands; what a user writes is taken as it stands."""
    return word.replace("$(", "$$(")


def reaches(template: Template) -> list[Reach]:
    """Every network that a pod of *template* has at some time."""
    opened = opened_for_setup(template)
    own = Reach(template.network, template.dns)
    return [own] if opened is None else [own, opened]


def probing(template: Template, probe: Probe) -> dict[str, Any]:
    """The proof of isolation, before anything of the tenant's runs."""
    return _probe_container(names.PROBE_CONTAINER, template, probe, first=["--alone"])


def closing(template: Template, probe: Probe, setup: Network) -> dict[str, Any]:
    """The proof that what *setup* had opened is closed again, before the main process starts."""
    known = {f"--closed-again={destination}" for destination in _examples(Reach(setup, template.dns))}
    return _probe_container(names.CLOSED_CONTAINER, template, probe, further=["--after-setup", *sorted(known)])


def cleaning(template: Template, probe: Probe) -> dict[str, Any]:
    """What empties the volumes and shared memory, by nature of a restart: at the first start they are empty."""
    container = _own_container(names.CLEAN_CONTAINER, template, probe, ["sandyard.clean"])
    user = {"runAsUser": template.user.uid, "runAsGroup": template.user.gid}
    return {**container, "securityContext": {**_own_security(), **user}, "volumeMounts": _MOUNTS}


def restarting(template: Template, probe: Probe) -> dict[str, Any]:
    """What lies beside the sandbox and, when it ends in its own way, has the kubelet restart all containers."""
    return {
        "name": names.RESTART_CONTAINER,
        "image": probe.image,
        "imagePullPolicy": probe.pull_policy,
        "command": list(KEEPER),
        "restartPolicy": "Always",
        "restartPolicyRules": [
            {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [RESTART_EXIT_CODE]}}
        ],
        "resources": {
            "limits": {"cpu": template.resources.cpu, "memory": "32Mi", "ephemeral-storage": "1Mi"},
            "requests": {"cpu": "1m", "memory": "4Mi", "ephemeral-storage": "1Mi"},
        },
        "securityContext": _own_security(),
        "terminationMessagePolicy": "File",
    }


def setting_up(template: Template, env: Sequence[EnvVar]) -> dict[str, Any]:
    """The setup command, in the sandbox's own image and with its volumes.

    One that has a network of its own has nothing of *env*, the Sandbox's: variables such as ``BASH_ENV`` make of
    the pool's command whatever they say, and it would reach what no Sandbox may.
    """
    assert template.setup is not None
    env = env if opened_for_setup(template) is None else ()
    container: dict[str, Any] = {
        "name": names.SETUP_CONTAINER,
        "image": template.image,
        "command": [_literal(word) for word in template.setup.command],
        "workingDir": template.working_dir,
        "env": _environment(template, env),
        "resources": resources(template.resources),
        "securityContext": security(template),
        "volumeMounts": _MOUNTS,
        # The end of its output is what tells a person what went wrong.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if template.image_pull_policy:
        container["imagePullPolicy"] = template.image_pull_policy
    return container


def _examples(opened: Reach) -> list[str]:
    """Destinations that *opened* lets through, which must be refused again; ``datagrams``: flows of these."""
    if opened.network.egress != names.EGRESS_ALLOW_LIST:
        return ["datagrams", "dns"]
    found = ["dns"] if opened.dns is not None else []
    rules = opened.network.allow or ()
    if found or any(rule.ports is None or any(port.protocol != "TCP" for port in rule.ports) for rule in rules):
        found.append("datagrams")
    for rule in rules:
        block = ipaddress.ip_network(rule.cidr)
        address = block.network_address if block.num_addresses == 1 else block.network_address + 1
        host = f"[{address}]" if address.version == 6 else str(address)
        found += [f"{host}:{port.port}" for port in rule.ports or () if port.protocol == "TCP"]
    return found


def _environment(template: Template, env: Sequence[EnvVar]) -> list[dict[str, str]]:
    # A home that the user can write to, and a name: uid 1000 has no entry in most images' passwd file.
    variables = {"HOME": "/workspace", "USER": "sandbox", "LOGNAME": "sandbox"}
    variables.update({variable.name: variable.value for variable in template.env or ()})
    variables.update({variable.name: variable.value for variable in env})
    if not all(is_settable(name) for name in variables):
        # Shells drop what they have no name for, and change what is their own; the client's scripts look for it then.
        own = (name for name in variables if re.fullmatch(r"\w+", name) and not is_settable(name))
        variables["SANDYARD_RAW_ENV"] = r"\|".join(["1", *own])
    return [{"name": name, "value": _literal(value)} for name, value in variables.items()]


def _probe_container(
    name: str, template: Template, probe: Probe, *, first: Sequence[str] = (), further: Sequence[str] = ()
) -> dict[str, Any]:
    arguments = [f"--forbidden={destination}" for destination in probe.forbidden]
    made = _own_container(name, template, probe, [
        "sandyard.probe", f"--runtime={probe.runtime}", f"--network={probe.network}", *first,
        f"--timeout-seconds={probe.timeout_seconds}", *arguments, *further,
    ])  # fmt: skip
    asks_for_the_node = any(destination.startswith("node:") for destination in probe.forbidden)
    return {**made, "env": [NODE_ADDRESS]} if asks_for_the_node else made


def _own_container(name: str, template: Template, probe: Probe, module: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": probe.image,
        "imagePullPolicy": probe.pull_policy,
        "command": ["/opt/sandyard/bin/python", "-I", "-m", *module],
        "resources": _own_resources(resources(template.resources)),
        "securityContext": _own_security(),
        "terminationMessagePolicy": "File",
    }


def _own_resources(main: dict[str, Any]) -> dict[str, Any]:
    """At least as much as the main container, which a LimitRange lets pass.

    One runs after the other, so it costs nothing.
    """
    requests, limits = main["requests"], main["limits"]
    return {
        "limits": {
            "cpu": limits["cpu"],
            "memory": max(limits["memory"], _PROBE_MEMORY, key=quantity.parse),
            "ephemeral-storage": "16Mi",
        },
        "requests": {
            "cpu": requests["cpu"],
            "memory": max(requests["memory"], _PROBE_REQUEST, key=quantity.parse),
            "ephemeral-storage": "16Mi",
        },
    }


def security(template: Template) -> dict[str, Any]:
    """What runs as the template's user: the pod's own is ours."""
    context = {
        **_own_security(),
        "readOnlyRootFilesystem": template.read_only_root_filesystem,
        "runAsUser": template.user.uid,
        "runAsGroup": template.user.gid,
    }
    if template.user.uid == 0:
        # Without the runtime's default set, root could not even change a file's owner.
        del context["capabilities"]
    return context


def _own_security() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def resources(wanted: Resources) -> dict[str, Any]:
    """Limits and requests: memory is set aside whole, CPU to a tenth, unless said otherwise."""
    requests = wanted.requests
    tenth = max(1, int(quantity.parse(wanted.cpu) * Fraction(1000, 10)))
    return {
        "limits": {
            "cpu": wanted.cpu,
            "memory": wanted.memory,
            "ephemeral-storage": wanted.ephemeral_storage,
        },
        "requests": {
            "cpu": requests.cpu if requests and requests.cpu else f"{tenth}m",
            "memory": requests.memory if requests and requests.memory else wanted.memory,
            "ephemeral-storage": "16Mi",
        },
    }
