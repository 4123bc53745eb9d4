"""The attacks of tests/attacks that need no node: manifests and calls, each by an actor with just its rights.

What admission decides is a dry run. What the operator has to contain is made for real, and looked at.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandyard.api import model, names
from tests.support import admission, attacks, manifests
from tests.support.admission import OPERATOR, VOLUMES, World
from tests.support.attacks import Attack
from tests.support.kube import Kube, Refused, until
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess

RBAC = "rbac.authorization.k8s.io"
# The built-in role edit is put together of these by a controller, which does not run here.
BOUND = {
    "viewer": ["sandyard-view"],
    "user": ["sandyard-user"],
    "author": ["sandyard-author", "sandyard-pool-admin"],
    "pool-admin": ["sandyard-pool-admin"],
    "editor": ["system:aggregate-to-edit", "system:aggregate-to-view"],
    "pods": ["attacker-pods"],
}
ALL = {name: attack for name, attack in attacks.corpus().items() if attack.layer == "api"}
AT_ONCE = [name for name, attack in ALL.items() if "then" not in attack.do]
IN_TIME = [name for name, attack in ALL.items() if "then" in attack.do]
PODS = ["bindings", "persistentvolumeclaims/status", "pods", *(f"pods/{sub}" for sub in (
    "status", "ephemeralcontainers", "resize", "exec", "attach", "portforward", "proxy", "log", "eviction",
    "binding"))]  # fmt: skip
# Ways to change an object: the type of the content, and further parameters.
FORMS = {
    "merge": ("application/merge-patch+json", {}),
    "strategic": ("application/strategic-merge-patch+json", {}),
    "json": ("application/json-patch+json", {}),
    "apply": ("application/apply-patch+yaml", {"fieldManager": "attacker", "force": "true"}),
}
# There is no node: an exec that admission lets through ends with one of these.
NO_NODE = r"does not have a host assigned|not found|no endpoints|unable to upgrade|dial tcp"


def bind(kube: Kube) -> None:
    """Give each actor its rights in *kube*'s namespace, and nowhere else."""
    kube.create({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "attacker-pods"},
                 "rules": [{"apiGroups": ["sandyard.dev"], "resources": ["*"], "verbs": ["*"]},
                           {"apiGroups": [""], "resources": PODS, "verbs": ["*"]}]})  # fmt: skip
    for actor, roles in BOUND.items():
        for number, role in enumerate(roles):
            kind = "Role" if role == "attacker-pods" else "ClusterRole"
            kube.create({
                "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": f"{actor}-{number}"},
                "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
                "subjects": [{"kind": "User", "name": f"attacker-{actor}", "apiGroup": RBAC}],
            })  # fmt: skip
    last = f"attacker-{list(BOUND)[-1]}"
    until("the rights hold", lambda: kube.may(last, "create", "pods/exec"), 30)


def as_actor(kube: Kube, actor: str) -> Kube:
    """*kube* with an actor's rights; the kubelet's are the administrator's here."""
    return kube.as_user({"operator": OPERATOR, "kubelet": "", "controller": VOLUMES}.get(actor, f"attacker-{actor}"))


@pytest.fixture(scope="module")
def world(admin: Kube) -> Iterator[World]:
    """A namespace with one object of each kind, in which the operator's token has every right: admission is asked."""
    for made in admission.world(admin):
        scheduled = admission.built()
        scheduled["metadata"]["name"] = "scheduled"
        made.admin.as_user(OPERATOR).create(scheduled)
        made.admin.request("POST", made.admin.path("pod", "scheduled", "binding"), binding("scheduled", "n1"))
        admission.waiting(made.admin)
        bind(made.admin)
        until("the bounds hold", functools.partial(bounded, made.admin), 60)
        until("policies know the pods of others", functools.partial(kept_out, made.admin), 30)
        yield made
        made.admin.delete("pod", "scheduled", "resumed", "awaited", wait=False, force=True)


def bounded(kube: Kube) -> bool:
    """Whether what the chart bounds is refused: each of its policies takes some seconds to hold."""
    annotated = manifests.pool("probe", template=manifests.template(annotations={"example.com/a": "b"}))
    try:
        kube.create(annotated, dry_run=True)
    except Refused as error:
        return "spec.template.annotations" in str(error)
    return False


def kept_out(kube: Kube) -> bool:
    """Whether the operator is kept out of somebody's pod: the policy follows a watch."""
    try:
        enter(kube.as_user(OPERATOR), {"enter": "exec", "pod": "plain", "container": names.CONTAINER,
                                       "command": ["/bin/sh", "-s"]})  # fmt: skip
    except Refused as error:
        return "nothing but sandboxes" in str(error)
    return False


def binding(pod: str, node: str) -> dict[str, Any]:
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}


def attempt(world: World, attack: Attack) -> None:
    """Do what *attack* does, as a dry run; raises Refused as the API server does."""
    do = attack.do
    elsewhere = {"elsewhere": "default"}.get(str(do.get("namespace")), str(do.get("namespace", world.admin.namespace)))
    kube = as_actor(world.admin, attack.actor).within(elsewhere)
    dry = {"dryRun": "All"}
    if "create" in do:
        kube.create(attacks.changed(do["create"], do.get("set", {}), do.get("drop", ())), dry_run=True)
    elif "change" in do:
        kind, name, *sub = str(do["change"]).split("/")
        name = world.admin.namespace if kind == "namespaces" else name
        content, further = FORMS[do.get("form", "merge")]
        kube.request("PATCH", kube.path(kind, name, *sub), do["patch"], content_type=content,
                     params={**dry, **further})  # fmt: skip
    elif "replace" in do:
        kind, name, *sub = str(do["replace"]).split("/")
        path = kube.path(kind, name, *sub)
        # Who replaces has read it before, by whatever right.
        body = attacks.edited(kube.as_user("").request("GET", path), do.get("set", {}), do.get("drop", ()))
        kube.request("PUT", path, body, params=dry)
    elif "delete" in do:
        kind, _, name = str(do["delete"]).partition("/")
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"],
                   **({"gracePeriodSeconds": do["grace"]} if "grace" in do else {}),
                   **({"propagationPolicy": do["propagation"]} if "propagation" in do else {})}  # fmt: skip
        params = {"labelSelector": do["selector"]} if "selector" in do else {}
        if "query" in do:
            # Where there is a body, what the address says counts for nothing.
            kube.request("DELETE", kube.path(kind, name or None), params={**do["query"], **params, **dry})
            return
        kube.request("DELETE", kube.path(kind, name or None), options, params=params)
    elif "evict" in do:
        kube.request("POST", kube.path("pod", do["evict"], "eviction"), {
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": do["evict"]},
            "deleteOptions": {"gracePeriodSeconds": do["grace"]},
        }, params=dry)  # fmt: skip
    elif "bind" in do:
        kube.request("POST", kube.path("pod", do["bind"], "binding"), binding(do["bind"], do["node"]), params=dry)
    elif "enter" in do:
        enter(kube, do)
    elif "read" in do:
        kind, *rest = str(do["read"]).split("/")
        kube.request("GET", "/".join([kube.path(kind), *rest]))
    else:
        kind, *rest = str(do["post"]).split("/")
        # What is passed on by a proxy is no request of the API server's own.
        kube.request("POST", "/".join([kube.path(kind), *rest]), do["body"], params={} if "proxy" in rest else dry)


def enter(kube: Kube, do: Any) -> None:
    """Enter a pod. Here that ends with an error anyway: for want of a node, where nobody has refused it."""
    inside = do["enter"] in ("exec", "attach")
    params: dict[str, Any] = {"container": do.get("container", names.CONTAINER), "stdin": "true",
                              "tty": str(do.get("tty", False)).lower()} if inside else {"ports": "80"}  # fmt: skip
    if do["enter"] == "exec":
        params["command"] = do.get("command", ["id"])
    if do.get("pod") == "plain" and inside and "container" not in do:
        params["container"] = "c"
    try:
        kube.request(do.get("method", "POST"), kube.path("pod", do.get("pod", "ours"), do["enter"]), params=params)
    except Refused as error:
        if not re.search(NO_NODE, str(error)):
            raise


@pytest.mark.parametrize("name", AT_ONCE)
def test_the_api_server_answers_as_it_should(world: World, name: str) -> None:
    attack = ALL[name]
    if attack.verdict == "allowed":
        attempt(world, attack)
        return
    with pytest.raises(Refused, match=attack.says):
        attempt(world, attack)


NARROW = {"egress": "AllowList", "allow": [{"cidr": "198.51.100.7/32", "ports": [{"port": 443}]}]}


@pytest.fixture(scope="module")
def target(file_namespace: Kube, file_operator: OperatorProcess, kubelet: Kubelet) -> Iterator[Kube]:
    """A namespace that an operator serves, with pools that give little."""
    del file_operator, kubelet
    bind(file_namespace)
    # Without a workspace that is kept a Sandbox has no claim, and nothing here makes one.
    file_namespace.apply(
        manifests.pool("short", 1, {"image": "a"}, maxLifetimeSeconds=3600),
        manifests.pool("narrow", 1, {"image": "a", "network": NARROW}),
    )
    for name in ("short", "narrow"):
        file_namespace.wait_for("sandboxpool", name, "Full")
    yield file_namespace
    file_namespace.delete("sandboxes,sandboxpools", "--all")


@pytest.mark.parametrize("name", IN_TIME)
def test_the_operator_contains_it(target: Kube, file_operator: OperatorProcess, name: str) -> None:
    attack = ALL[name]
    then = attack.do["then"]
    made = f"s-{uuid.uuid4().hex[:6]}"
    if "message" in attack.do:
        relayed(target, made, attack)
    else:
        body = attacks.changed(attack.do["create"], attack.do.get("set", {}))
        body["metadata"]["name"] = made
        as_actor(target, attack.actor).create(body)
    try:
        judge(target, made, then)
        assert file_operator.ready(), "the operator is well"
    finally:
        target.delete("sandboxes", made)


def judge(kube: Kube, name: str, then: dict[str, Any]) -> None:
    """See by the Sandbox *name*, and by what was made for it, that the attack is contained."""
    if "reason" in then:
        told = until("it is told why", lambda: reasons(kube, name) & {then["reason"]} or None, 20)
        assert told
        assert kube.status("sandbox", name).get("phase") not in ("Ready", "Starting")
    if "expires_within" in then:
        kube.wait_for("sandbox", name, "Ready")
        ends = model.moment(kube.status("sandbox", name)["expiresAt"])
        assert ends is not None
        assert ends <= time.time() + then["expires_within"]
    if "shut" in then:
        # The profile is opened, by the label that the policies select, before it is Ready.
        kube.wait_for("sandbox", name, "Ready")
        pod = kube.get("pod", kube.status("sandbox", name)["podName"])
        assert pod is not None
        shut = [address for item in then["shut"] for address in spelled(kube, item)]
        open_ = [address for address in shut if lets_out(kube, pod["metadata"]["labels"], address)]
        assert open_ == [], "addresses that the policies let it reach"
    if "serves" in then:
        kube.create(manifests.sandbox(f"{name}-next", "short"))
        kube.wait_for("sandbox", f"{name}-next", "Ready")
        kube.delete("sandboxes", f"{name}-next")


def reasons(kube: Kube, name: str) -> set[str]:
    return {item["reason"] for item in kube.status("sandbox", name).get("conditions", ())}


def spelled(kube: Kube, name: str) -> list[str]:
    """*name* as addresses: it is one, or stands for the API server's, also as a translator would have them."""
    if not name.startswith("api-server"):
        return [name]
    slices = kube.within("default").list("endpointslices", "kubernetes.io/service-name=kubernetes")
    found = [
        ipaddress.IPv4Address(address) for item in slices for one in item["endpoints"] for address in one["addresses"]
    ]
    forms = {"api-server-nat64": (0x64FF9B << 96, 0), "api-server-6to4": (0x2002 << 112, 80)}
    if name not in forms:
        return [str(address) for address in found]
    prefix, shift = forms[name]
    return [str(ipaddress.IPv6Address(prefix | int(address) << shift)) for address in found]


def lets_out(kube: Kube, labels: dict[str, str], address: str) -> bool:
    """Whether the namespace's policies let a pod with *labels* reach *address*: evaluated as the API defines it."""
    found = ipaddress.ip_address(address)
    for policy in kube.list("networkpolicies"):
        selector = policy["spec"]["podSelector"].get("matchLabels")
        if selector is None or any(labels.get(key) != value for key, value in selector.items()):
            continue
        blocks = [
            peer["ipBlock"] for rule in policy["spec"].get("egress", ()) for peer in rule["to"] if "ipBlock" in peer
        ]
        for block in blocks:
            if found in ipaddress.ip_network(block["cidr"]) and not any(
                found in ipaddress.ip_network(hole) for hole in block.get("except", ())
            ):
                return True
    return False


def relayed(kube: Kube, name: str, attack: Attack) -> None:
    """A Sandbox's container has ended with a message; its kubelet relays it."""
    kube.create(manifests.sandbox(name, template={"image": "a"}))
    pod = kube.wait_for("sandbox", name, "Ready")["podName"]
    status = kube.status("pod", pod)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for item in status[kind]:
            if item["name"] == attack.do["container"]:
                item["state"] = {"terminated": {"exitCode": 0, "message": attack.do["message"]}}
    kube.patch("pod", pod, {"status": status}, "status")
