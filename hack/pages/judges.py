"""What those who deploy by GitOps make of an object: kstatus, Argo CD's health scripts, Flux' expressions, kubectl.

The scripts and expressions are the ones in docs/gitops, run as Argo CD and Flux run them.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, Final

import cel
import lupa.lua51 as lua
import yaml

from sandyard.api import crd, names

__all__ = ["GITOPS", "Health", "argo", "columns", "flux", "flux_expressions", "kstatus", "script"]

GITOPS: Final = pathlib.Path(__file__).resolve().parents[2] / "docs" / "gitops"
Object = Mapping[str, Any]
# Status and message.
Health = tuple[str, str]


def kstatus(body: Object) -> str:
    """``Terminating``, ``InProgress``, ``Failed`` or ``Current``.

    The rules of kstatus for kinds that it does not know (sigs.k8s.io/cli-utils, pkg/kstatus, README.md): a
    generation that is not observed, or Reconciling, is in progress; Stalled has failed; then the condition Ready
    decides, if there is one. Flux judges by it, and so do Helm 4 and kpt.
    """
    status, metadata = body.get("status") or {}, body["metadata"]
    if "deletionTimestamp" in metadata:
        return "Terminating"
    if status.get("observedGeneration", metadata.get("generation", 0)) != metadata.get("generation", 0):
        return "InProgress"
    known = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    if known.get("Reconciling") == "True":
        return "InProgress"
    if known.get("Stalled") == "True":
        return "Failed"
    return "Current" if known.get("Ready", "True") == "True" else "InProgress"


def script(kind: str) -> str:
    """The health script of a kind."""
    return (GITOPS / "argocd" / f"health-{kind.lower()}.lua").read_text()


def argo(body: Object, text: str = "") -> Health:
    """What Argo CD says: its script sees the object as ``obj``, and none of Lua's libraries but the plainest.

    An object that is being deleted is Progressing, whatever the script says: Argo CD does not run it.
    """
    runtime = lua.LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    for library in ("io", "os", "package", "require", "debug", "dofile", "loadfile", "python"):
        runtime.globals()[library] = None
    runtime.globals().obj = _table(runtime, body)
    found = runtime.execute(text or script(body["kind"]))
    return str(found.status), str(found.message or "")


def _table(runtime: lua.LuaRuntime, value: Any) -> Any:
    if isinstance(value, Mapping):
        return runtime.table_from({key: _table(runtime, item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return runtime.table_from([_table(runtime, item) for item in value])
    return value


def flux_expressions() -> dict[str, dict[str, str]]:
    """Kind -> ``inProgress``, ``failed``, ``current``, as the example's Kustomization has them."""
    documents = yaml.safe_load_all((GITOPS / "flux" / "pools.yaml").read_text())
    (made,) = [item for item in documents if item["kind"] == "Kustomization"]
    return {entry["kind"]: entry for entry in made["spec"]["healthCheckExprs"]}


def flux(body: Object, expressions: Mapping[str, str] | None = None) -> str:
    """What Flux says by ``healthCheckExprs``: what is not observed is in progress, then the first that is true.

    The order is that of Flux' RFC 0009: inProgress, failed, current; InProgress if none is true.
    """
    status, metadata = body.get("status") or {}, body["metadata"]
    if "observedGeneration" in status and status["observedGeneration"] != metadata.get("generation"):
        return "InProgress"
    known = expressions or flux_expressions()[body["kind"]]
    for key, verdict in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        if key in known and cel.evaluate(known[key], dict(body)):
            return verdict
    return "InProgress"


def columns(body: Object) -> dict[str, str]:
    """What ``kubectl get`` prints of it, by column; the age is left out."""
    plural = names.SANDBOXES if body["kind"] == names.SANDBOX_KIND else names.POOLS
    (version,) = crd.definitions()[plural]["spec"]["versions"]
    shown = [column for column in version["additionalPrinterColumns"] if column["type"] != "date"]
    cells = {"Name": body["metadata"]["name"]}
    return cells | {one["name"]: _cell(body, one["jsonPath"]) for one in shown if not one.get("priority")}


def _cell(body: Object, path: str) -> str:
    """One jsonPath of the definitions: names of fields, or a field of the condition of one type."""
    if path.startswith(".status.conditions[?"):
        kind, _, field = path.partition('=="')[2].partition('")].')
        found = [item for item in body.get("status", {}).get("conditions") or () if item["type"] == kind]
        return str(found[0].get(field, "")) if found else ""
    value: Any = body
    for name in path.strip(".").split("."):
        value = (value or {}).get(name)
    return "" if value is None else str(value)
