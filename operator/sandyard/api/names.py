"""Names that are promises: labels, annotations, finalizer, container names, profiles.

Each is written here once; documents, chart and CRDs are generated or checked against it.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ANNOTATION_ACTIVITY",
    "ANNOTATION_POOL",
    "ANNOTATION_SANDBOX",
    "CONTAINER",
    "FINALIZER",
    "GROUP",
    "GUARD_UID",
    "LABEL_ALLOW",
    "LABEL_EGRESS",
    "LABEL_INGRESS",
    "LABEL_LANGUAGE",
    "LABEL_MANAGED_BY",
    "LABEL_POLICY",
    "LABEL_POOL_UID",
    "LABEL_SANDBOX_UID",
    "LABEL_STATE",
    "LABEL_TEMPLATE_HASH",
    "POOLS",
    "POOL_KIND",
    "PREFIX",
    "PROBE_CONTAINER",
    "SANDBOXES",
    "SANDBOX_KIND",
    "VERSION",
]

GROUP: Final = "sandyard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
SANDBOX_KIND: Final = "Sandbox"
POOL_KIND: Final = "SandboxPool"
SANDBOXES: Final = "sandboxes"
POOLS: Final = "sandboxpools"

PREFIX: Final = f"{GROUP}/"
FINALIZER: Final = f"{GROUP}/teardown"

# Labels carry UIDs, which always fit; readable names may be longer than a label can hold
# (63 characters), so they are annotations.
LABEL_POOL_UID: Final = f"{GROUP}/pool-uid"
LABEL_SANDBOX_UID: Final = f"{GROUP}/sandbox-uid"
LABEL_STATE: Final = f"{GROUP}/state"
LABEL_EGRESS: Final = f"{GROUP}/egress"
LABEL_ALLOW: Final = f"{GROUP}/allow"
LABEL_INGRESS: Final = f"{GROUP}/ingress"
LABEL_TEMPLATE_HASH: Final = f"{GROUP}/template-hash"
LABEL_POLICY: Final = f"{GROUP}/policy"
# On pools, for clients: the language that its image is for.
LABEL_LANGUAGE: Final = f"{GROUP}/language"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "sandyard"
ANNOTATION_POOL: Final = f"{GROUP}/pool"
ANNOTATION_SANDBOX: Final = f"{GROUP}/sandbox"
# The one annotation of ours that users may write, on their Sandboxes.
ANNOTATION_ACTIVITY: Final = f"{GROUP}/last-activity"
# The terms of the pool that a pod was claimed under, for when the pool is gone.
ANNOTATION_TERMS: Final = f"{GROUP}/terms"
# Whether the network of the setup is still open. What comes after "closed" was written is proof.
ANNOTATION_SETUP: Final = f"{GROUP}/setup"
SETUP_OPEN: Final = "open"
SETUP_CLOSED: Final = "closed"
SETUP_CLOSING: Final = "closing"
# PersistentVolumeClaim of the pod's workspace.
ANNOTATION_WORKSPACE: Final = f"{GROUP}/workspace"
# How often a pod that was restarted for its next Sandbox has been handed out before.
ANNOTATION_USES: Final = f"{GROUP}/uses"
# A restart of its containers that was asked for: when, and which they were.
ANNOTATION_RESTART: Final = f"{GROUP}/restart"
# Restarts of its containers that were asked for and proven, as the kubelet counts them.
ANNOTATION_RESTARTS: Final = f"{GROUP}/restarts"
ANNOTATION_TOUCHED: Final = f"{GROUP}/touched"
ANNOTATION_SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
# Argo CD calls a running pod with restartPolicy Never Progressing, for ever, unless this is "true".
ANNOTATION_ARGO_RUNS_LONG: Final = "argocd.argoproj.io/ignore-restart-policy"

STATE_WARM: Final = "warm"
STATE_CLAIMED: Final = "claimed"
STATE_COLD: Final = "cold"

EGRESS_NONE: Final = "None"
EGRESS_DNS: Final = "DNS"
EGRESS_INTERNET: Final = "Internet"
EGRESS_ALLOW_LIST: Final = "AllowList"

CONTAINER: Final = "sandbox"
PROBE_CONTAINER: Final = "sandyard-probe"
SETUP_CONTAINER: Final = "sandyard-setup"
CLOSED_CONTAINER: Final = "sandyard-closed"
CLEAN_CONTAINER: Final = "sandyard-clean"
RESTART_CONTAINER: Final = "sandyard-restart"
# User and group of what is ours in a pod: the pause container and the proof.  No template may have
# it, so that nothing of a tenant's can signal, trace or renice them.
GUARD_UID: Final = 64042
# Containers that run as that user.
OWN_CONTAINERS: Final = (PROBE_CONTAINER, CLOSED_CONTAINER, RESTART_CONTAINER)
WORKSPACE_VOLUME: Final = "workspace"
TMP_VOLUME: Final = "tmp"
