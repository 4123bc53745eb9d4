"""The page on health, with every situation and every judge, and Argo CD's ConfigMap with the scripts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final

from pages import judges, situations
from pages.situations import Situation
from sandyard.api import names

__all__ = ["argocd_config", "health_page"]

_NOTE: Final = "Generated from hack/pages/situations.py and docs/gitops by hack/generate. Do not edit."
_BEGIN: Final = f"""<!-- {_NOTE} -->
# Health of Sandboxes and pools

What is as its spec asks is Current, even where nothing of it runs; what somebody has to do something about has failed
(`Stalled`), and everything else is on its way. A pool that was filled once stays Ready while claims take from it.

Each object below is what the operator writes in that situation. *Argo CD* is judged by the scripts of
[gitops/argocd](gitops/argocd/argocd-cm.yaml), *Flux* by the `healthCheckExprs` of
[gitops/flux](gitops/flux/pools.yaml), which say what kstatus says. Helm 4 (`--wait`) goes by kstatus too. While an
object is being deleted, Flux and Helm wait until it is gone, and Argo CD shows it as Progressing.
"""


def health_page() -> str:
    """The page, as Markdown."""
    lines = [_BEGIN]
    for title, found in (("Sandbox", situations.sandboxes()), ("SandboxPool", situations.pools())):
        told = "As `kubectl get` shows them, in the same order, without their age:"
        lines += [f"## {title}", "", *_verdicts(found), "", told, "", "```", *_table(found), "```", ""]
        lines += _unshown(found)
    return "\n".join(lines)


def _verdicts(found: Iterable[Situation]) -> list[str]:
    lines = ["| situation | phase | Ready | Reconciling | Stalled | reason | kstatus | Argo CD | Flux |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for one in found:
        body = one.object
        known = {item["type"]: item for item in body["status"].get("conditions") or ()}
        states = [known.get(kind, {}).get("status", "-") for kind in ("Ready", "Reconciling", "Stalled")]
        phase = body["status"].get("phase", "-")
        cells = [one.what, phase, *states, _reason(one), judges.kstatus(body), judges.argo(body)[0],
                 judges.flux(body)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _unshown(found: Iterable[Situation]) -> list[str]:
    """What the column REASON does not tell, since it is that of Reconciling."""
    pairs = {(_reason(one), str(judges.columns(one.object)["Reason"] or "")) for one in found}
    apart = [f"`{told}` where the table above has `{why}`" for why, told in sorted(pairs) if told not in (why, "")]
    if not apart:
        return []
    text = f"REASON is that of Reconciling, so it prints {' and '.join(apart)}: that one is the reason of Stalled, "
    return [*textwrap.wrap(text + "which `kubectl describe` shows with its message.", 120), ""]


def _reason(one: Situation) -> str:
    """Why it is as it is: what somebody has to do something about comes first."""
    known = {item["type"]: item for item in one.object["status"].get("conditions") or ()}
    stalled = known.get("Stalled", {}).get("status") == "True"
    told = known.get("Stalled" if stalled else "Reconciling") or known.get("Ready") or {}
    return str(told.get("reason", "-"))


def _table(found: Iterable[Situation]) -> list[str]:
    rows = [judges.columns(one.object) for one in found]
    text = [[name.upper() for name in rows[0]], *([cell or "" for cell in row.values()] for row in rows)]
    widths = [max(len(row[at]) for row in text) for at in range(len(text[0]))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in text]


def argocd_config() -> str:
    """A patch of the ConfigMap ``argocd-cm`` with the health scripts of both kinds."""
    parts = [f"# {_NOTE}\n# kubectl patch configmap argocd-cm -n argocd --patch-file argocd-cm.yaml\n"
             "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n"]  # fmt: skip
    for kind in (names.SANDBOX_KIND, names.POOL_KIND):
        text = textwrap.indent(judges.script(kind), "    ")
        parts.append(f"  resource.customizations.health.{names.GROUP}_{kind}: |\n{text}")
    return "".join(parts)
