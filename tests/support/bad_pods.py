"""Pods that break one rule each: what is changed about a good one, the field at fault, and what admission says.

The operator's own check and the admission policy both refuse each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sandyard.api import names

__all__ = ["CASES", "Case"]

Pod = dict[str, Any]
Change = Callable[[Any], Any]


class Case:
    """One bad pod.

    Attributes
    ----------
    where
        The field that the operator's own check names.
    says
        Part of what admission says.
    """

    def __init__(self, change: Change, where: str, says: str) -> None:
        self.change = change
        self.where = where
        self.says = says


FIELDS = "just the fields that the operator gives it"
USER = "runs as non-root"
VOLUMES = "only its own workspace and /tmp"
PRIVILEGES = "no privileges and no capabilities"
LIMITS = "have limits"
MAIN = "one container"
ORDER = "the proof runs first"
PROOF = "nothing but the operator's proof"
# The API server itself refuses it, before any policy is asked.
INVALID = "is invalid"


def _set(*path: str | int, **fields: Any) -> Change:
    """A change: *fields* of what stands at *path*; None takes a field away."""

    def change(pod: Pod) -> None:
        found: Any = pod
        for key in path:
            found = found[key]
        for key, value in fields.items():
            if value is None:
                del found[key]
            else:
                found[key] = value

    return change


def _spec(says: str = FIELDS, /, **fields: Any) -> Case:
    return Case(_set("spec", **fields), f"spec.{next(iter(fields))}", says)


def _user(**fields: Any) -> Case:
    where = f"spec.securityContext.{next(iter(fields))}"
    return Case(_set("spec", "securityContext", **fields), where, USER)


def _tenant(**fields: Any) -> Case:
    where = f"securityContext.{next(iter(fields))}"
    return Case(_set("spec", "containers", 0, "securityContext", **fields), where, PRIVILEGES)


def _volume(where: str, **volume: Any) -> Case:
    return Case(lambda pod: pod["spec"]["volumes"].append(volume), where, VOLUMES)


def _workspace(source: dict[str, Any], where: str = "") -> Case:
    made = {"name": names.WORKSPACE_VOLUME, **source}
    path = f"spec.volumes[{names.WORKSPACE_VOLUME}]{where}"
    return Case(lambda pod: pod["spec"]["volumes"].__setitem__(0, made), path, VOLUMES)


def _claim(**spec: Any) -> dict[str, Any]:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": wanted}}}


_OF_THE_POD: Final = {
    "host-network": _spec(hostNetwork=True),
    "host-pid": Case(_set("spec", hostPID=True, shareProcessNamespace=None), "spec.hostPID", FIELDS),
    "host-ipc": _spec(hostIPC=True),
    "host-users": _spec(hostUsers=True),
    "host-aliases": _spec(hostAliases=[{"ip": "127.0.0.1", "hostnames": ["x"]}]),
    "node-name": _spec(nodeName="node-1"),
    "scheduler": _spec(schedulerName="mine"),
    "scheduling-gates": _spec(schedulingGates=[{"name": "example.com/wait"}]),
    "affinity": _spec(affinity={"nodeAffinity": {}}),
    "spread": _spec(topologySpreadConstraints=[
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
    ]),
    "readiness-gates": _spec(readinessGates=[{"conditionType": "example.com/x"}]),
    "deadline": _spec(activeDeadlineSeconds=1),
    "subdomain": _spec(subdomain="x"),
    "domain-as-host-name": _spec(setHostnameAsFQDN=True),
    "resource-claims": _spec(resourceClaims=[{"name": "gpu", "resourceClaimName": "gpu"}]),
    "own-resources": _spec(resources={"limits": {"cpu": "1"}}),
    "operating-system": _spec(os={"name": "linux"}),
    "any-toleration": _spec(tolerations=[{"operator": "Exists"}]),
    "class-of-the-system": _spec(priorityClassName="system-node-critical"),
    "no-runtime-class": _spec(runtimeClassName=None),
    "token": _spec(automountServiceAccountToken=True),
    "token-by-silence": _spec(automountServiceAccountToken=None),
    "addresses-of-services": _spec(enableServiceLinks=True),
    "processes-apart": _spec(shareProcessNamespace=False),
    "endless-grace": _spec(terminationGracePeriodSeconds=10**9),
    "restarts": _spec(restartPolicy="Always"),
    "dns-of-the-node": _spec(dnsPolicy="Default"),
    "dns-search": _spec(dnsConfig={"nameservers": ["10.0.0.1"], "searches": ["evil.example.com"]}),
    "maybe-root": _user(runAsNonRoot=False),
    "root-by-silence": _user(runAsNonRoot=None),
    "no-user": _user(runAsUser=None),
    "pause-as-the-tenant": _user(runAsUser=1000),
    "pause-in-the-tenants-group": _user(runAsGroup=1000),
    "tenant-as-ours": _tenant(runAsUser=names.GUARD_UID),
    "tenant-as-the-pod": _tenant(runAsUser=None),
    "tenant-in-the-pods-group": _tenant(runAsGroup=None),
    "no-seccomp": _user(seccompProfile={"type": "Unconfined"}),
    "own-seccomp": _user(seccompProfile={"type": "Localhost", "localhostProfile": "x.json"}),
    "seccomp-by-silence": _user(seccompProfile=None),
    "sysctls": _user(sysctls=[{"name": "net.ipv4.ip_local_port_range", "value": "1"}]),
    "selinux": _user(seLinuxOptions={"type": "spc_t"}),
    "apparmor": _user(appArmorProfile={"type": "Unconfined"}),
    "further-groups": _user(supplementalGroups=[0]),
    "groups-of-the-image": _user(supplementalGroupsPolicy="Merge"),
    "windows": _user(windowsOptions={"runAsUserName": "ContainerUser"}),
    "host-path": _volume("[more]", name="more", hostPath={"path": "/"}),
    "secret": _volume("[more]", name="more", secret={"secretName": "s"}),
    "config-map": _volume("[more]", name="more", configMap={"name": "c"}),
    "csi": _volume("[more]", name="more", csi={"driver": "d"}),
    "projected": _volume("[more]", name="more", projected={"sources": [{"configMap": {"name": "c"}}]}),
    "image-as-volume": _volume("[more]", name="more", image={"reference": "a"}),
    "claim-of-another": _volume("[more]", name="more", persistentVolumeClaim={"claimName": "c"}),
    "further-directory": _volume("[more]", name="more", emptyDir={"sizeLimit": "1Mi"}),
    "no-size-limit": _workspace({"emptyDir": {}}, ".emptyDir.sizeLimit"),
    "huge-pages": _workspace({"emptyDir": {"sizeLimit": "1Mi", "medium": "HugePages"}}, ".emptyDir.medium"),
    "workspace-on-the-node": _workspace({"hostPath": {"path": "/"}}),
    "workspace-of-a-secret": _workspace({"secret": {"secretName": "s"}}),
    "workspace-of-many": _workspace(_claim(accessModes=["ReadWriteMany"])),
    "workspace-of-a-snapshot": _workspace(_claim(dataSource={"kind": "PersistentVolumeClaim", "name": "other"})),
    "workspace-of-a-volume": _workspace(_claim(volumeName="pv-of-another")),
    "workspace-as-a-device": _workspace(_claim(volumeMode="Block")),
    "no-proof": Case(_set("spec", initContainers=None), "spec.initContainers", FIELDS),
    "setup-alone": Case(
        _set("spec", "initContainers", 0, name=names.SETUP_CONTAINER), "spec.initContainers", PRIVILEGES
    ),
    "another-before": Case(
        lambda pod: pod["spec"]["initContainers"].insert(0, {**pod["spec"]["containers"][0], "name": "first"}),
        "spec.initContainers", ORDER,
    ),
    "proof-twice": Case(
        lambda pod: pod["spec"]["initContainers"].append({
            **pod["spec"]["initContainers"][0], "name": names.CLOSED_CONTAINER,
        }),
        "spec.initContainers", ORDER,
    ),
    "another-beside": Case(
        lambda pod: pod["spec"]["containers"].append({**pod["spec"]["containers"][0], "name": "beside"}),
        "spec.containers", MAIN,
    ),
}  # fmt: skip


def _context(**fields: Any) -> Change:
    return _set("securityContext", **fields)


def _limit(name: str) -> Change:
    return lambda container: container["resources"]["limits"].pop(name)


_VALUE_FROM = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
# What no container may have: the change, the field, and whether admission has a sentence of its own for it.
_OF_EACH: Final[dict[str, tuple[Change, str, str]]] = {
    "privileged": (
        _context(privileged=True, allowPrivilegeEscalation=True), "securityContext.privileged", PRIVILEGES
    ),
    "escalation": (_context(allowPrivilegeEscalation=True), "securityContext.allowPrivilegeEscalation", PRIVILEGES),
    "escalation-by-silence": (
        _context(allowPrivilegeEscalation=None), "securityContext.allowPrivilegeEscalation", PRIVILEGES
    ),
    "no-context": (_set(securityContext=None), "securityContext", PRIVILEGES),
    "capability-added": (
        _context(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}), "securityContext.capabilities", PRIVILEGES
    ),
    "capabilities-kept": (_context(capabilities=None), "securityContext.capabilities", PRIVILEGES),
    "capabilities-in-part": (
        _context(capabilities={"drop": ["NET_RAW"]}), "securityContext.capabilities", PRIVILEGES
    ),
    "runs-as-root": (_context(runAsUser=0), "securityContext.runAsUser", PRIVILEGES),
    "runs-as-group": (_context(runAsGroup=names.GUARD_UID), "securityContext.runAsGroup", PRIVILEGES),
    "may-run-as-root": (_context(runAsNonRoot=False), "securityContext.runAsNonRoot", PRIVILEGES),
    "its-own-seccomp": (
        _context(seccompProfile={"type": "Unconfined"}), "securityContext.seccompProfile", PRIVILEGES
    ),
    "its-own-apparmor": (
        _context(appArmorProfile={"type": "Unconfined"}), "securityContext.appArmorProfile", PRIVILEGES
    ),
    "its-own-selinux": (_context(seLinuxOptions={"type": "spc_t"}), "securityContext.seLinuxOptions", PRIVILEGES),
    "its-own-windows": (
        _context(windowsOptions={"runAsUserName": "ContainerUser"}), "securityContext.windowsOptions", PRIVILEGES
    ),
    "proc-default": (_context(procMount="Default"), "securityContext.procMount", PRIVILEGES),
    "no-cpu-limit": (_limit("cpu"), "resources.limits.cpu", LIMITS),
    "no-memory-limit": (_limit("memory"), "resources.limits.memory", LIMITS),
    "no-storage-limit": (_limit("ephemeral-storage"), "resources.limits.ephemeral-storage", LIMITS),
    "a-device": (
        lambda c: c["resources"]["limits"].update({"example.com/gpu": "1"})
        or c["resources"]["requests"].update({"example.com/gpu": "1"}),
        "resources.limits.example.com/gpu", LIMITS,
    ),
    "claims-of-a-device": (
        lambda c: c["resources"].update(claims=[{"name": "gpu"}]), "resources.claims", INVALID
    ),
    "port": (_set(ports=[{"containerPort": 80}]), "ports", ""),
    "host-port": (_set(ports=[{"containerPort": 80, "hostPort": 80}]), "ports", ""),
    "env-from": (_set(envFrom=[{"secretRef": {"name": "s"}}]), "envFrom", ""),
    "env-value-from": (_set(env=_VALUE_FROM), "env", ""),
    "terminal": (_set(tty=True, stdin=True), "tty", ""),
    "device": (_set(volumeDevices=[{"name": names.WORKSPACE_VOLUME, "devicePath": "/dev/x"}]), "volumeDevices",
               INVALID),
    "mount": (
        lambda c: c.update(volumeMounts=[*c.get("volumeMounts", ()), {"name": "tmp", "mountPath": "/proc"}]),
        "volumeMounts", "",
    ),
    "message-path": (_set(terminationMessagePath="/workspace/x"), "terminationMessagePath", ""),
    "resize-policy": (
        _set(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "NotRequired"}]), "resizePolicy", ""
    ),
}  # fmt: skip
_OF_THE_MAIN_ONE: Final[dict[str, tuple[Change, str]]] = {
    "hooks": (_set(lifecycle={"preStop": {"exec": {"command": ["true"]}}}), "lifecycle"),
    "liveness": (_set(livenessProbe={"exec": {"command": ["true"]}}), "livenessProbe"),
    "startup": (_set(startupProbe={"exec": {"command": ["true"]}}), "startupProbe"),
    "probe-of-a-host": (
        _set(readinessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}), "readinessProbe.exec"
    ),
    "probe-of-a-socket": (
        _set(readinessProbe={"tcpSocket": {"host": "10.0.0.1", "port": 80}}), "readinessProbe.exec"
    ),
}  # fmt: skip


def _node_address(field: str) -> dict[str, Any]:
    return {"name": "SANDYARD_NODE_ADDRESS", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}}


_OF_THE_PROOF: Final[dict[str, tuple[Change, str]]] = {
    "another-image": (_set(image="evil.example.com/probe:1"), "image"),
    "image-that-looks-alike": (lambda c: c.update(image=c["image"].replace(":", "-evil:")), "image"),
    "another-command": (_set(command=["true"]), "command"),
    "arguments": (_set(args=["--runtime=BestEffort"]), "args"),
    "module-of-the-tenant": (lambda c: c["command"].remove("-I"), "command"),
    "less-required": (
        lambda c: c["command"].__setitem__(4, "--runtime=BestEffort"), "command"
    ),
    "among-others": (lambda c: c["command"].remove("--alone"), "command"),
    "less-required-at-the-end": (lambda c: c["command"].append("--network=BestEffort"), "command"),
    "variable": (_set(env=[{"name": "LD_PRELOAD", "value": "/workspace/x.so"}]), "env"),
    "node-of-its-choice": (_set(env=[{"name": "SANDYARD_NODE_ADDRESS", "value": "192.0.2.77"}]), "env"),
    "node-by-an-annotation": (_set(env=[_node_address("metadata.annotations['example.com/a']")]), "env"),
    "node-and-more": (
        _set(env=[_node_address("status.hostIP"), {"name": "LD_PRELOAD", "value": "/workspace/x.so"}]), "env"
    ),
    "directory": (_set(workingDir="/workspace"), "workingDir"),
    "volume": (_set(volumeMounts=[{"name": names.WORKSPACE_VOLUME, "mountPath": "/opt/sandyard"}]), "volumeMounts"),
    "writable": (_set("securityContext", readOnlyRootFilesystem=False), "securityContext.readOnlyRootFilesystem"),
    "message-from-logs": (_set(terminationMessagePolicy="FallbackToLogsOnError"), "terminationMessagePolicy"),
    "that-lives-on": (_set(restartPolicy="Always"), "restartPolicy"),
}  # fmt: skip


def _within(kind: str, change: Change) -> Change:
    return lambda pod: change(pod["spec"][kind][0])


def _all() -> dict[str, Case]:
    found = dict(_OF_THE_POD)
    for kind, sentence in (("containers", MAIN), ("initContainers", PROOF)):
        for name, (change, where, says) in _OF_EACH.items():
            found[f"{kind}-{name}"] = Case(_within(kind, change), where, says or sentence)
    for name, (change, where) in _OF_THE_MAIN_ONE.items():
        found[f"containers-{name}"] = Case(_within("containers", change), where, MAIN)
    for name, (change, where) in _OF_THE_PROOF.items():
        found[f"proof-{name}"] = Case(_within("initContainers", change), where, PROOF)
    return found


CASES: Final = _all()


def _before(name: str, change: Change) -> Change:
    return lambda pod: change(next(item for item in pod["spec"]["initContainers"] if item["name"] == name))


def _rules(action: str = "RestartAllContainers", operator: str = "In", value: int = 138) -> Change:
    rule = {"action": action, "exitCodes": {"operator": operator, "values": [value]}}
    return _set(restartPolicyRules=[rule])


_OF_WHAT_RESTARTS: Final[dict[str, tuple[Change, str]]] = {
    "another-image": (_set(image="evil.example.com/x:1"), "image"),
    "another-command": (_set(command=["sh", "-c", "exit 138"]), "command"),
    "arguments": (_set(args=["1"]), "args"),
    "another-exit-code": (_rules(value=137), "restartPolicyRules"),
    "any-exit-code": (_rules(operator="NotIn", value=0), "restartPolicyRules"),
    "alone": (_rules(action="Restart"), "restartPolicyRules"),
    "no-rule": (_set(restartPolicyRules=None), "restartPolicyRules"),
    "once": (_set(restartPolicy="Never"), "restartPolicy"),
    "variable": (_set(env=[{"name": "A", "value": "1"}]), "env"),
    "volume": (_set(volumeMounts=[{"name": names.TMP_VOLUME, "mountPath": "/tmp"}]), "volumeMounts"),
    "writable": (_set("securityContext", readOnlyRootFilesystem=False), "securityContext.readOnlyRootFilesystem"),
}  # fmt: skip
_OF_THE_CLEANER: Final[dict[str, tuple[Change, str]]] = {
    "another-image": (_set(image="evil.example.com/x:1"), "image"),
    "another-command": (_set(command=["true"]), "command"),
    "one-volume": (lambda c: c["volumeMounts"].pop(), "volumeMounts"),
    "that-lives-on": (_set(restartPolicy="Always"), "restartPolicy"),
    "rule": (lambda c: c.update(restartPolicy="Never") or _rules()(c), "restartPolicyRules"),
}  # fmt: skip
_TENANTS_RULE: Final = lambda c: c.update(restartPolicy="Never") or _rules()(c)  # noqa: E731
# Of pods that are restarted for their next Sandbox.
RESTARTED: Final = {
    **{f"restart-{name}": Case(_before(names.RESTART_CONTAINER, change), where, PROOF)
       for name, (change, where) in _OF_WHAT_RESTARTS.items()},
    "restart-as-the-tenant": Case(
        _before(names.RESTART_CONTAINER, _set("securityContext", runAsUser=1000, runAsGroup=1000)),
        "containers[", PRIVILEGES,
    ),
    **{f"cleaner-{name}": Case(_before(names.CLEAN_CONTAINER, change), where, PROOF)
       for name, (change, where) in _OF_THE_CLEANER.items()},
    "tenant-that-restarts-the-pod": Case(_within("containers", _TENANTS_RULE), "restartPolicyRules", MAIN),
    "nothing-is-emptied": Case(lambda pod: pod["spec"]["initContainers"].pop(1), "spec.initContainers", ORDER),
    "emptied-before-the-proof": Case(
        lambda pod: pod["spec"]["initContainers"].insert(0, pod["spec"]["initContainers"].pop(1)),
        "spec.initContainers", ORDER,
    ),
}  # fmt: skip
