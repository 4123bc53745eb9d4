"""Renders the table of `sandyard.podspec.shape` as the rules of the chart's admission policy."""

from __future__ import annotations

import json
import textwrap
from typing import Final

from sandyard.podspec import shape

__all__ = ["pod_rules"]

# Helm fills these in; what stands there is text to CEL.
_INSTALLATION: Final = shape.Installation(
    image_repository="{{ .Values.image.repository }}",
    runtime="{{ .Values.isolation.runtime }}",
    network="{{ .Values.isolation.network }}",
    labels=("{{ toJson .Values.policy.labels }}",),
    annotations=("{{ toJson .Values.policy.annotations }}",),
)
# When a rule need not be asked, by the part of the pod that it is about.
_AT_REST: Final = {"labels": "!variables.operator", "annotations": "!variables.operator"}


def pod_rules() -> str:
    """The Helm template ``sandyard.podRules``: a list of validations, a rule of the table each.

    They hold whenever a pod's spec is made or changed; those of labels and annotations whenever the
    operator writes. The policy that includes them has the variables ``settled`` (the spec is neither),
    ``operator``, ``newLabels``, ``newAnnotations``, ``root``, ``spec`` and ``containers``.
    """
    lines = ['{{- define "sandyard.podRules" -}}']
    both = zip(shape.rows(_INSTALLATION), shape.rows(_INSTALLATION, root=True), strict=True)
    for row, of_root in both:
        rule, root_rule = row.rule.cel(row.expression), of_root.rule.cel(row.expression)
        holds = f"({rule})" if rule == root_rule else f"(variables.root ? ({root_rule}) : ({rule}))"
        lines.append("- expression: >-")
        # No rule has two spaces or a line break in a text, so that folding gives back what was there.
        unless = _AT_REST.get(row.part, "variables.settled")
        lines += textwrap.wrap(f"{unless} || {holds}", 110, initial_indent="    ", subsequent_indent="    ",
                               break_long_words=False, break_on_hyphens=False)  # fmt: skip
        lines.append(f"  message: {json.dumps(row.says)}")
    return "\n".join([*lines, "{{- end }}"]) + "\n"
