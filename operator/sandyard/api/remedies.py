"""What each condition says, and of each reason what it means and what a person does about it.

docs/reasons.md is made from this.
"""

from __future__ import annotations

from typing import Final

from sandyard.api.reasons import Condition, Reason

__all__ = ["CONDITIONS", "REASONS"]

_NOTHING: Final = "Nothing: it goes on by itself."
_SPEC: Final = "Read the message, which names the field, and change the spec."

CONDITIONS: Final[dict[Condition, str]] = {
    Condition.READY: "It can be used; of a pool, it was filled and serves claims. Absent where nothing is to become "
    "Ready: paused, suspended, ended.",
    Condition.RECONCILING: "Something is under way. Its reason and message are those of kubectl's columns in any case.",
    Condition.STALLED: "Nothing gets better by itself: somebody has to do something.",
    Condition.CLAIMED: "The Sandbox has a pod.",
    Condition.RUNTIME_ISOLATED: "The sandbox has shown from inside that gVisor's kernel runs it.",
    Condition.NETWORK_ENFORCED: "The sandbox has shown from inside that its network was closed before its process ran.",
    Condition.SETUP_COMPLETED: "The template's setup has ended well.",
    Condition.FINISHED: "The Sandbox has ended for good: its process, its time, or its pod.",
    Condition.STATE_LOST: "The Sandbox has a fresh pod, since an earlier one was lost with everything in it "
    "(`onLost: Replace`); the message says which.",
    Condition.TEARDOWN_STUCK: "The Sandbox was deleted, and something of it does not go.",
    Condition.BACKING_OFF: "The pool starts nothing for a while, since its last starts have failed.",
    Condition.FULL: "All desired sandboxes of the pool are warm.",
}

REASONS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.READY: ("It can be used.", "Nothing."),
    Reason.CLAIMED: ("The Sandbox has its pod.", "Nothing."),
    Reason.NOT_CLAIMED: ("The Sandbox has no pod, or none any more.", "See the reason of Ready or Reconciling."),
    Reason.STARTING: ("Its pod is on the way.", _NOTHING),
    Reason.WAITING: (
        "It waits for a pod of its pool; the message has its place in the queue.",
        "Nothing; if it happens often, the pool is too small (sizing.md).",
    ),
    Reason.SCALING: ("The pool is being filled.", _NOTHING),
    Reason.ALL_WARM: ("All desired sandboxes are warm.", "Nothing."),
    Reason.EMPTY: (
        "The pool has had no warm sandbox for longer than a start takes.",
        "Raise `replicas`, or let `autoscale` follow the load (sizing.md).",
    ),
    Reason.ROLLING_OUT: ("Warm sandboxes of an earlier template are being replaced.", _NOTHING),
    Reason.PAUSED: ("It is paused, as its spec asks.", "Set `desiredState: Running` (of a pool `paused: false`)."),
    Reason.PAUSING: ("Its processes are being stopped.", _NOTHING),
    Reason.RESUMING: ("Its processes are being continued.", _NOTHING),
    Reason.SUSPENDING: ("Its pod goes; its workspace stays.", _NOTHING),
    Reason.SUSPENDED: ("It has no pod, and its workspace is kept, as its spec asks.", "Set `desiredState: Running`."),
    Reason.PROVEN: ("It was shown from inside the sandbox.", "Nothing."),
    Reason.NOT_PROVEN: ("No sandbox has shown it yet.", "Nothing; if it stays, see the reason of Stalled."),
    Reason.RECONCILED: ("There is nothing to do.", "Nothing."),
    Reason.TERMINATING: ("It is being deleted.", _NOTHING),
    Reason.RUNNING: ("It runs.", "Nothing."),
    Reason.POOL_NOT_FOUND: (
        "There is no pool of that name in the Sandbox's namespace.",
        "Make the pool, or name another: `kubectl get sandboxpools`. A pool of another namespace cannot be used.",
    ),
    Reason.POOL_EXHAUSTED: (
        "No pod came free within `waitSeconds`.",
        "Create it again later; raise `replicas`, `maxSandboxes` or `waitSeconds`.",
    ),
    Reason.MAX_SANDBOXES: (
        "The pool's `maxSandboxes`, or the namespace's `policy.maxSandboxes`, is reached.",
        "Delete Sandboxes that nobody needs, give them a `lifetime`, or raise the bound.",
    ),
    Reason.START_TIMEOUT: (
        "A pod was not ready within `startup.timeoutSeconds`.",
        "Look at the pod's Events; raise the time where images are large.",
    ),
    Reason.IMAGE_PULL: (
        "The node cannot pull the image.",
        "Look at its name, tag and registry, and at `imagePullSecrets` in that namespace (images.md).",
    ),
    Reason.UNSCHEDULABLE: (
        "No node takes the pod: no room, or none matches.",
        "Add nodes, ask for less, or look at `nodeSelector`, `tolerations` and `runtimeClass.nodeSelector`.",
    ),
    Reason.QUOTA_EXCEEDED: ("The namespace's ResourceQuota is used up.", "Raise it, or delete what nobody needs."),
    Reason.RUNTIME_CLASS_MISSING: (
        "There is no RuntimeClass of the template's `runtimeClassName`.",
        "Set `runtimeClass.create`, or name one that is there: `kubectl get runtimeclasses`.",
    ),
    Reason.RUNTIME_NOT_ISOLATED: (
        "The sandbox runs on the node's own kernel, or cannot show that it does not.",
        "Look at the RuntimeClass's handler and the node's containerd configuration.",
    ),
    Reason.NETWORK_NOT_ENFORCED: (
        "Something that must be closed was reached from inside the sandbox; the message says what.",
        "Use a network plugin that enforces NetworkPolicy; give it more time by `isolation.probeTimeoutSeconds`.",
    ),
    Reason.FOREIGN_POLICY: (
        "A NetworkPolicy of others opens the sandboxes of the namespace; the message names it.",
        "Delete it, or give it a `podSelector` that leaves sandboxes out.",
    ),
    Reason.PROBE_FAILED: ("The proof itself has failed.", "Look at the log of the pod's container `sandyard-probe`."),
    Reason.SETUP_FAILED: (
        "The template's `setup.command` has failed or took too long; the message has its output.",
        "Mend the command, open what it needs in `setup.network`, or raise `setup.timeoutSeconds`.",
    ),
    Reason.CONTAINER_ERROR: (
        "The container cannot be started: its command, its user, or its working directory.",
        "Read the message; try the image with `docker run --user 1000`.",
    ),
    Reason.POD_REFUSED: (
        "Admission of the cluster refuses the pod; the message is its.",
        "Look at webhooks, Pod Security labels of the namespace, and policies of others.",
    ),
    Reason.INVALID_TEMPLATE: (
        "The template asks for more than the bounds allow; the message names field, bound and value.",
        "Ask for less, or have the bound raised (bounds.md).",
    ),
    Reason.INVALID_SPEC: ("The spec makes no sense.", _SPEC),
    Reason.EGRESS_NOT_ALLOWED: (
        "The Sandbox's own `network` is wider than its pool allows.",
        "Ask for less, or add the profile to the pool's `allowedEgress`.",
    ),
    Reason.PAUSING_DISABLED: ("Pausing is off.", "Set `pausing.enabled` of the chart."),
    Reason.NOT_PAUSED: ("Not every process stays stopped.", "Read the message; it is tried again."),
    Reason.PAUSE_FAILED: (
        "Not every process could be stopped or continued.",
        "Read the message; set `desiredState` to what it was.",
    ),
    Reason.NOT_PERSISTENT: (
        "It cannot be suspended: its workspace would be lost.",
        "Use a template with `workspace.persistent`.",
    ),
    Reason.POD_NOT_READY: (
        "Its probe fails, or its node is not heard of.",
        "Look at what runs in it and at its node; it becomes Ready again by itself.",
    ),
    Reason.NODE_LOST: ("Its node is not heard of.", "Bring the node back; or delete the Node if it is gone for good."),
    Reason.RESTART_UNAVAILABLE: (
        "`recycle: Restart` is not to be had; the message says why. Pods are replaced instead.",
        "Use Kubernetes 1.36 or newer and `restarting.enabled`, or set `recycle: Delete`.",
    ),
    Reason.REQUEST_FAILED: (
        "Requests of the operator fail again and again; the message has the API server's words. They are repeated.",
        "Look at webhooks that are away or refuse, at the operator's rights, and at the API server's load.",
    ),
    Reason.COMPLETED: ("Its main process, or its setup, has ended with exit code 0.", "Nothing."),
    Reason.ERROR: ("Its main process has ended with another exit code.", "See `status.lastTermination`."),
    Reason.OOM_KILLED: ("It used more memory than its limit.", "Raise `resources.memory`, or use less."),
    Reason.EVICTED: (
        "Its node has evicted it: short of memory or disk, or it used more disk than its limit.",
        "Raise `resources.ephemeralStorage` or the workspace's `sizeLimit`; look at the node.",
    ),
    Reason.POD_LOST: (
        "Its pod was deleted by somebody else, or is gone with its node.",
        "Create it again; drain nodes only when their Sandboxes may end.",
    ),
    Reason.POD_RESTARTED: (
        "The containers of its pod were restarted, not by Sandyard: what ran is gone.",
        "Create it again; look at the node's kubelet.",
    ),
    Reason.EXPIRED: ("Its lifetime or its deadline is over.", "Create it again, with a longer `lifetime`."),
    Reason.IDLE: ("It was idle for `lifetime.idleSeconds`.", "Create it again; clients stamp what they use."),
    Reason.POD_NOT_GOING: (
        "It was deleted, and its pod or volume does not go; the message says what is in the way.",
        "See the runbook SandyardTeardownStuck.",
    ),
    Reason.NOT_READY: ("It is not Ready.", "Read the message."),
}
