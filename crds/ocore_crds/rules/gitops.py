"""What says that a tool or a person applied an object from a file, and will apply it again. The one table of marks.
Pure.

The label ``app.kubernetes.io/instance`` is in doubt: Argo CD's older default tracks by it, and people set it as a
recommended label. What rests on a mark decides which mistake is harmless: an image that no tool puts back is not
refused for it (decision 21); an object that a tool would create again is not removed in spite of it.
"""

from collections.abc import Mapping
from typing import Any

#: Annotations and labels, or begins of their names, with which tools mark the objects that they apply again and again.
TOOL_MARKS = {
    "argocd.argoproj.io/": "Argo CD",
    "kustomize.toolkit.fluxcd.io/": "Flux",
    "helm.toolkit.fluxcd.io/": "Flux",
    "meta.helm.sh/": "Helm",
    "kapp.k14s.io/": "kapp",
    "objectset.rio.cattle.io/": "Fleet",
    "configmanagement.gke.io/": "Config Sync",
}
#: Marks that may, or may not, mean that the object is applied again.
DOUBTFUL_MARKS = ("app.kubernetes.io/instance", "kubectl.kubernetes.io/last-applied-configuration")


def tool_of(meta: Mapping[str, Any]) -> str:
    """The tool that marks the object as its own; empty: none does. `meta`: its metadata."""
    for mark, tool in TOOL_MARKS.items():
        if any(name.startswith(mark) for name in _names(meta)):
            return tool
    return ""


def may_be_applied_again(meta: Mapping[str, Any]) -> bool:
    """Whether a tool or a person may apply the object again; a mark in doubt counts. `meta`: its whole metadata."""
    if tool_of(meta) or any(name.startswith(DOUBTFUL_MARKS) for name in _names(meta)):
        return True
    return any(f.get("operation") == "Apply" and not f.get("subresource") for f in meta.get("managedFields") or ())


def _names(meta: Mapping[str, Any]) -> tuple[str, ...]:
    return (*(meta.get("annotations") or ()), *(meta.get("labels") or ()))
