"""What is done next for a Sandbox that has a pod: rules again, by what the pod shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec

from sandyard.api import model, names
from sandyard.api.events import Event
from sandyard.api.objects import Pod
from sandyard.api.reasons import Phase, Reason, Start
from sandyard.pod import observe, restart, termination
from sandyard.podspec import network
from sandyard.podspec.network import Reach
from sandyard.sandbox import loss, phase, steps
from sandyard.sandbox.steps import Count, Step
from sandyard.sandbox.view import SandboxView

__all__ = ["RULES", "decide", "give_up", "kept", "workspace_to_adopt"]

_FREEZE_RETRY_SECONDS = 5.0
_REFUSED_RETRY_SECONDS = 20.0
_RESTARTED = "the containers of its pod were restarted, and not by Sandyard: its processes and files are gone"


def decide(view: SandboxView, pod: Pod, surplus: Sequence[Pod]) -> Step:
    """The next step for the Sandbox of *pod*; should it have two (a claim cut off and repeated), one is kept."""
    step = next(step for step in (rule(view, pod) for rule in RULES) if step is not None)
    deletes = tuple(steps.DeletePod(other) for other in surplus)
    step = dataclasses.replace(step, actions=(*deletes, *step.actions))
    unsettled = view.answers.switch_refused is not None or (view.answers.put_right and view.astray)
    if unsettled and step.requeue_after is None:
        # What its pod was refused is asked for again, and perhaps nothing else brings it back.
        return dataclasses.replace(step, requeue_after=_REFUSED_RETRY_SECONDS)
    return step


# The rules


def restarted(view: SandboxView, pod: Pod) -> Step | None:
    """Its containers were restarted, and nobody had asked for it: what it was is gone, and its pod goes too."""
    if not restart.unasked(pod) or pod.metadata.deletion_timestamp is not None:
        return None
    lost = loss.lost(view, _RESTARTED, Reason.POD_RESTARTED, Event.POD_RESTARTED)
    step = kept(view) if view.status.ended else lost
    return dataclasses.replace(step, actions=(steps.DeletePod(pod),))


def ended(view: SandboxView, pod: Pod) -> Step | None:
    """It has ended: its pod goes once nobody can use it, or its time is over."""
    if not view.status.ended:
        return None
    step = kept(view)
    return dataclasses.replace(step, actions=(steps.DeletePod(pod),)) if _useless(view) else step


def labels_changed(view: SandboxView, pod: Pod) -> Step | None:
    """Others have changed whose pod it is, by its labels."""
    if not view.astray or view.answers.put_right or pod.metadata.deletion_timestamp is not None:
        return None
    return Step("labels changed", actions=(steps.PutLabelsRight(pod, view.astray),), again=True)


def taken_and_replaced(view: SandboxView, pod: Pod) -> Step | None:
    """Its pod was taken from outside, and another is to take its place (``onLost: Replace``)."""
    why = loss.taken(pod) if view.replaces else None
    return loss.lost(view, why[1], why[0]) if why is not None else None


def main_process_ended(view: SandboxView, pod: Pod) -> Step | None:
    """Its main process has ended by itself."""
    found = termination.of(pod) if view.status.running or _main_ended(pod) else None
    if found is None:
        return None
    return Step(
        "finished", status=phase.finished(view.facts(), pod, found),
        event=(Event.FINISHED, _told(found)),
        counts=(Count("ended", (found["reason"],)),),
    )  # fmt: skip


def deleted_by_others(view: SandboxView, pod: Pod) -> Step | None:
    """Its pod is being deleted, and not by us."""
    if pod.metadata.deletion_timestamp is None:
        return None
    return loss.lost(view, f"pod {pod.metadata.name} is being deleted, not by Sandyard")


def still_starting(view: SandboxView, pod: Pod) -> Step | None:
    """Its pod is not ready and proven yet, or never will be."""
    if view.status.running or (observe.is_ready(pod) and observe.proof_of(pod) is not None):
        return None
    setup = _setting_up(view, pod)
    if isinstance(setup, Step):
        return setup
    patience = view.start_patience_seconds
    age = view.now - model.seconds(pod.metadata.creation_timestamp)
    trouble = observe.trouble(pod)
    if trouble is not None and pod.status.phase == "Failed":
        return give_up(view, trouble.reason, trouble.message, pod)
    if age >= patience:
        reason = trouble.reason if trouble else Reason.START_TIMEOUT
        why = f": {trouble.message}" if trouble else ""
        return give_up(view, reason, f"not ready within {patience} s{why}", pod)
    # What it runs already counts from there, ready or not: its own probe may keep it from ever being so.
    since, longest = observe.running_since(pod), view.terms.longest_seconds
    runs_on = since + longest - view.now if since is not None and longest is not None else patience
    if runs_on <= 0:
        return give_up(view, Reason.START_TIMEOUT, f"ran for {longest} s (maxLifetimeSeconds) and was not ready", pod)
    reason = trouble.reason if trouble else Reason.STARTING
    message = trouble.message if trouble else f"starting pod {pod.metadata.name}"
    status = phase.starting(view.facts(), pod, reason, message, stalled=trouble is not None)
    left = min(patience - age, runs_on, setup if setup is not None else patience)
    resync = (steps.ResyncKubelet(pod),)
    return Step("starting", status=status, actions=resync, requeue_after=max(0.1, left))


def withheld(view: SandboxView, pod: Pod) -> Step | None:
    """Something of others opens its pod: it is not handed out, and waits until that is gone."""
    if view.status.running or not view.withheld:
        return None
    patience, waited = view.start_patience_seconds, view.waited_seconds
    if waited >= patience:
        return give_up(view, Reason.FOREIGN_POLICY, f"not handed out within {patience} s: {view.withheld}", pod)
    status = phase.starting(view.facts(), pod, Reason.FOREIGN_POLICY, view.withheld, stalled=True)
    return Step("withheld", status=status, requeue_after=patience - waited)


def network_to_switch(view: SandboxView, pod: Pod) -> Step | None:
    """Its network is not the one that it asks for.

    A pod that starts for its Sandbox alone is opened before that is Ready. One that runs is
    switched when its Sandbox's own network has changed, and never because of its pool.
    """
    if view.answers.switched_generation == view.generation:
        return _not_opened(view, pod)
    wanted = _wanted_reach(view, pod)
    if wanted is None or _as_wanted(pod, wanted) or _network_refused(view, pod):
        return None
    switch = steps.SwitchNetwork(pod, wanted, view.generation, post=view.status.running)
    return Step("network to switch", actions=(switch,), again=True)


def workspace_to_adopt(view: SandboxView, pod: Pod) -> Step | None:
    """Its workspace is its pod's alone, and would go with it."""
    name = pod.metadata.annotations.get(names.ANNOTATION_WORKSPACE, "")
    if not view.status.running or not name or view.status.workspace_claim == name or view.answers.workspace_gone:
        return None
    return Step("workspace to adopt", actions=(steps.AdoptWorkspace(name),), again=True)


def paused(view: SandboxView, pod: Pod) -> Step | None:
    """It is paused, or to be."""
    status = view.status
    if not status.running or view.spec.desired_state != "Paused" or not view.pausing:
        return None
    if status.phase is Phase.PAUSED:
        return kept(view)
    if view.answers.asked:
        return Step("pausing")
    if view.answers.frozen is not True:
        message = "stopping its processes"
        pausing = phase.pausing(view.facts(), pod, Reason.PAUSING, message)
        return Step("pausing", status=pausing, actions=(steps.Freeze(pod, stopped=True),), again=True)
    report = view.answers.report
    if not report.done:
        return _not_frozen(view, pod)
    event = (Event.PAUSED, f"{report.count} processes are stopped")
    return Step("paused", status=phase.paused(view.facts(), pod, report.count), event=event)


def resumed(view: SandboxView, pod: Pod) -> Step | None:
    """Some of its processes may be stopped, and are to run."""
    status = view.status
    refused = view.spec.desired_state == "Paused" and not view.pausing
    if not status.running or not status.held or refused:
        return None
    if view.answers.asked:
        return Step("resuming")
    if view.answers.frozen is not False:
        message = "continuing its processes"
        resuming = phase.pausing(view.facts(), pod, Reason.RESUMING, message)
        return Step("resuming", status=resuming, actions=(steps.Freeze(pod, stopped=False),), again=True)
    if not view.answers.report.done:
        return _not_frozen(view, pod)
    step = not_ready(view, pod) or ready(view, pod)
    return dataclasses.replace(step, event=(Event.RESUMED, f"{view.answers.report.count} processes resumed"))


def not_ready(view: SandboxView, pod: Pod) -> Step | None:
    """It was Ready and is not at this moment."""
    if observe.is_ready(pod):
        return None
    why = observe.sickness(pod)
    status = phase.not_ready(view.facts(), pod, why.reason, why.message)
    return Step("not ready", status=status, event=(Event.NOT_READY, f"{why.reason.value}: {why.message}"))


def ready(view: SandboxView, pod: Pod) -> Step:
    """It can be used: for the first time this is the second write of its claim."""
    proof = observe.proof_of(pod)
    if proof is None:
        return Step("not proven")
    before = view.status
    born_at = model.seconds(pod.metadata.creation_timestamp)
    start = view.answers.start or (Start.WARM if born_at < view.created_at else Start.COLD)
    facts = view.facts(ready_at=view.now)
    opened = view.exposure.message if view.exposure is not None else ""
    status = phase.ready(facts, pod, start, proof, opened=opened, setup=observe.setup_ended(pod))
    refused = _refused(view, pod)
    if refused is not None:
        status = phase.refused_state(status, *refused)
    if not before.ready_at:
        kind = (before.start or start).value
        return Step(
            "ready", status=status, event=(Event.READY, f"{kind} start: pod {pod.metadata.name}"),
            counts=(Count("claims", ("ready", kind)),), actions=(steps.ObserveStart(kind),),
        )  # fmt: skip
    if before.claimed_at:
        return Step("ready", status=status)
    kept_ = "with its workspace" if before.workspace_claim else "without anything of the one before"
    return Step("ready", status=status, event=(Event.RESUMED, f"in a new pod, {pod.metadata.name}, {kept_}"))


RULES = (
    restarted,
    labels_changed,
    ended,
    taken_and_replaced,
    main_process_ended,
    deleted_by_others,
    still_starting,
    withheld,
    network_to_switch,
    workspace_to_adopt,
    paused,
    resumed,
    not_ready,
    ready,
)


# Steps that several rules take


def kept(view: SandboxView) -> Step:
    """It stays as it is; only a changed spec is acknowledged."""
    if view.status.observed_generation == view.generation:
        return Step("kept")
    return Step("kept", status=msgspec.structs.replace(view.status, observed_generation=view.generation))


def give_up(view: SandboxView, reason: Reason, message: str, pod: Pod | None = None) -> Step:
    """It could not be started, by *pod*: it ends as Failed; one that has a workspace to lose is suspended."""
    full = f"{reason.value}: {message}"
    if view.status.workspace_claim:
        status = phase.suspended(view.facts(), reason, message, stalled=True)
        return Step("given up", status=status, event=(Event.RESUME_FAILED, full), requeue_after=0.01)
    return Step(
        "given up", status=phase.failed(view.facts(), reason, message, pod), event=(Event.FAILED, full),
        counts=(Count("claims", (reason.value, "none")),), requeue_after=0.01,
    )  # fmt: skip


# What is asked for and cannot be had


def _refused(view: SandboxView, pod: Pod) -> tuple[Reason, str] | None:
    if view.spec.desired_state == "Paused" and not view.pausing:
        message = "pausing is switched off in this installation (pausing.enabled of the chart)"
        return Reason.PAUSING_DISABLED, message
    if view.spec.desired_state == "Suspended":
        message = "desiredState Suspended: its pool's template has no workspace.persistent, nothing would be kept"
        return Reason.NOT_PERSISTENT, message
    switch = view.answers.switch_refused
    if switch is not None:
        return switch.reason, f"spec.network: its pod keeps the network that it has: {switch.message}"
    message = _network_refused(view, pod)
    return (Reason.EGRESS_NOT_ALLOWED, message) if message else None


def _network_refused(view: SandboxView, pod: Pod) -> str:
    wanted = view.own_reach() if view.spec.network is not None else None
    if wanted is None or _as_wanted(pod, wanted):
        return ""
    return view.not_allowed(wanted.network)


def _not_opened(view: SandboxView, pod: Pod) -> Step | None:
    """A pod that starts for its Sandbox is not handed out without the network that was asked for."""
    refusal = view.answers.switch_refused
    if refusal is None or view.status.running:
        return None
    left = view.start_patience_seconds - (view.now - model.seconds(pod.metadata.creation_timestamp))
    if left <= 0:
        return give_up(view, refusal.reason, refusal.message, pod)
    status = phase.starting(view.facts(), pod, refusal.reason, refusal.message, stalled=True)
    return Step("network refused", status=status, requeue_after=min(left, _REFUSED_RETRY_SECONDS))


def _wanted_reach(view: SandboxView, pod: Pod) -> Reach | None:
    """The network that its pod should have; None where that is not for its spec to say."""
    labels, template = pod.metadata.labels, view.template
    if not view.status.running:
        if labels.get(names.LABEL_STATE) != names.STATE_COLD:
            return None
    elif names.LABEL_SANDBOX_UID not in labels:
        # The watch has yet to show its claim.
        return None
    elif view.spec.template is None:
        changed = view.status.observed_generation != view.generation and view.spec.network is not None
        current = view.pool is not None and labels.get(names.LABEL_TEMPLATE_HASH) == view.pool.template_hash
        # Its pool has moved on: what its pod was given is not known any more.
        if not (changed or current):
            return None
    return view.own_reach() or (Reach(template.network, template.dns) if template is not None else None)


def _as_wanted(pod: Pod, wanted: Reach) -> bool:
    labels, have = network.labels(wanted), pod.metadata.labels
    keys = (names.LABEL_EGRESS, names.LABEL_ALLOW, names.LABEL_INGRESS)
    return all(labels.get(key) == have.get(key) for key in keys)


# Details


def _not_frozen(view: SandboxView, pod: Pod) -> Step:
    why = view.answers.report.why
    reason = Reason.NOT_PAUSED if view.answers.frozen else Reason.PAUSE_FAILED
    status = phase.pausing(view.facts(), pod, reason, why, stalled=True)
    return Step(
        "not frozen", status=status, event=(Event.PAUSE_FAILED, why), requeue_after=_FREEZE_RETRY_SECONDS
    )  # fmt: skip


def _setting_up(view: SandboxView, pod: Pod) -> Step | float | None:
    """Seconds that its setup still has; a step if that is over, or its network is to be closed."""
    template = view.template
    if template is None or template.setup is None:
        return None
    if observe.setup_open(pod) and not view.answers.setup_closed:
        return Step("setup ended", actions=(steps.CloseSetupNetwork(pod, template),), again=True)
    left = observe.setup_seconds_left(pod, template.setup.timeout_seconds, view.now)
    if left is None or left > 0:
        return left
    return give_up(view, Reason.SETUP_FAILED, observe.setup_overdue(template.setup.timeout_seconds), pod)


def _useless(view: SandboxView) -> bool:
    """Whether the pod of an ended Sandbox has to go: nobody can use it, or its time is over."""
    status = view.status
    if status.phase is Phase.EXPIRED or (not status.ready_at and not status.last_termination):
        return True
    at = view.expiry().at
    return at is not None and at <= view.now


def _told(ending: dict[str, Any]) -> str:
    """An ending in a line; a pod that was ended from outside has no exit code, but a message."""
    if "exitCode" in ending:
        return f"{ending['reason']}, exit code {ending['exitCode']}"
    return f"{ending['reason']}: {ending['message']}" if ending["message"] else str(ending["reason"])


def _main_ended(pod: Pod) -> bool:
    return observe.proof_of(pod) is not None and any(
        status.name == names.CONTAINER and status.state.terminated is not None
        for status in pod.status.container_statuses
    )
