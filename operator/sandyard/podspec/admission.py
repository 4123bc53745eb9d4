"""Renders the tables of pods and of bounds as the rules of the chart's admission policies."""

from __future__ import annotations

import json
import textwrap
from typing import Final

from sandyard.podspec import bound_table, shape
from sandyard.podspec.bound_table import Row
from sandyard.podspec.bounds import VALUES, Bounds

__all__ = ["bound_rules", "pod_rules"]

# Helm fills these in; what stands there is text to CEL.
_INSTALLATION: Final = shape.Installation(
    image_repository="{{ .Values.image.repository }}",
    runtime="{{ .Values.isolation.runtime }}",
    network="{{ .Values.isolation.network }}",
    labels=("variables.labels",),
    annotations=("variables.annotations",),
)
# When a rule need not be asked, by the part of the pod that it is about.
_AT_REST: Final = {"labels": "!variables.operator", "annotations": "!variables.operator"}


def pod_rules() -> str:
    """The Helm template ``sandyard.podRules``: a list of validations, a rule of the table each.

    They hold whenever a pod's spec is made or changed; those of labels and annotations whenever the
    operator writes. The policy that includes them has the variables ``settled`` (the spec is neither),
    ``operator``, ``newLabels``, ``newAnnotations``, ``labels`` and ``annotations`` (how keys of a template's may
    begin), ``root``, ``spec`` and ``containers``.
    """
    lines = ['{{- define "sandyard.podRules" -}}']
    both = zip(shape.rows(_INSTALLATION), shape.rows(_INSTALLATION, root=True), strict=True)
    for row, of_root in both:
        rule, root_rule = row.rule.cel(row.expression), of_root.rule.cel(row.expression)
        holds = f"({rule})" if rule == root_rule else f"(variables.root ? ({root_rule}) : ({rule}))"
        unless = _AT_REST.get(row.part, "variables.settled")
        lines += ["- expression: >-", *_folded(f"{unless} || {holds}")]
        lines.append(f"  message: {json.dumps(row.says)}")
    return "\n".join([*lines, "{{- end }}"]) + "\n"


def bound_rules() -> str:
    """Three Helm templates: ``sandyard.boundAsks``, ``sandyard.boundVariables`` and ``sandyard.boundRules``.

    The first is an expression: whether the object has any field that a bound is about. The second
    makes a variable of each bound of the object that it is called with, and one of what is beyond
    it in each field; the third is a list of validations, a row of the table each. What
    a change leaves alone is not looked at anew: bounds that were narrowed keep nobody from pausing
    a pool.
    """
    asks = " || ".join(bound_table.cel(path) + ".hasValue()" for path in bound_table.ASKED)
    lines = ['{{- define "sandyard.boundAsks" -}}', asks, "{{- end }}"]
    lines += ['{{- define "sandyard.boundVariables" -}}']
    for key in VALUES:
        lines += [f"- name: {key}", f"  expression: {{{{ toJson .{key} | quote }}}}"]
    for row in bound_table.ROWS:
        lines += [f"- name: {_name(row)}", "  expression: >-", *_folded(_beyond(row))]
    lines += ["{{- end }}", '{{- define "sandyard.boundRules" -}}']
    for row in bound_table.ROWS:
        lines += ["- expression: >-", *_folded(f"variables.{_unchanged(row)} || variables.{_name(row)}.size() == 0")]
        lines += [f"  message: {json.dumps(f'spec.{row.field} {row.says}')}"]
        lines += ["  messageExpression: >-", *_folded(_sentence(row))]
    return "\n".join([*lines, "{{- end }}"]) + "\n"


def _name(row: Row) -> str:
    return f"beyond_{row.field.replace('.', '_')}_{row.bound}"


def _unchanged(row: Row) -> str:
    part = row.field.partition(".")[0]
    return f"{part}Settled" if part in ("template", "network") else "settled"


def _beyond(row: Row) -> str:
    within = row.limit.cel("i", f"variables.{row.bound}")
    return f"{row.items.cel}.filter(i, !({within})).map(i, {row.limit.shown_cel('i')})"


def _sentence(row: Row) -> str:
    bound = f"variables.{row.bound}"
    listed = isinstance(Bounds().value(row.bound), tuple)
    said = f"({bound}.size() == 0 ? 'nothing' : {bound}.join(', '))" if listed else f"string({bound})"
    return f"'spec.{row.field}: ' + variables.{_name(row)}.join(', ') + ' {row.says} (' + {said} + ')'"


def _folded(expression: str) -> list[str]:
    """Lines of a folded text of YAML."""
    # No rule has two spaces or a line break in a text, so that folding gives back what was there.
    return textwrap.wrap(
        expression, 110, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
