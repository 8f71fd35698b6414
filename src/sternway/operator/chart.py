"""The Helm chart, made from the same objects as `sternway install` prints. A test compares it with `charts/sternway`.

To write it anew: `python -m sternway.operator.chart` in the project's folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from sternway import __version__
from sternway.kubernetes.api import Object
from sternway.manifests.custom_resources import definitions
from sternway.operator.install import Installation, installation, written

_VALUES = """\
# The image of Sternway, with its tag.
image: sternway:dev
# The namespaces that it looks after, and has rights in. Empty: every namespace.
watches: []
# Where Prometheus and Alertmanager are, http://…
prometheus: ""
alertmanager: ""
# Which mesh carries the traffic (istio, gateway-api, …). Empty: found by what is installed.
mesh: ""
# The size of the volume that the journal is kept on.
storage: 1Gi
"""
_PLAIN = Installation(
    namespace="{{ .Release.Namespace }}",
    image="{{ .Values.image }}",
    prometheus="{{ .Values.prometheus }}",
    alertmanager="{{ .Values.alertmanager }}",
    mesh="{{ .Values.mesh }}",
    storage="{{ .Values.storage }}",
)
_WATCHES = ('{{ join "," .Values.watches }}',)
_RIGHTS = ("ClusterRole", "ClusterRoleBinding")


def chart() -> dict[str, str]:
    """Path below `charts/sternway` -> text."""
    everywhere = installation(_PLAIN)
    somewhere = installation(replace(_PLAIN, watches=_WATCHES))
    alone = _but(somewhere, *_RIGHTS, "Role", "RoleBinding", "Namespace", "CustomResourceDefinition")
    kept = ("Deployment", "PersistentVolumeClaim")
    own_rights = [one for one in somewhere if one["kind"].startswith("Role") and one["metadata"]["name"] != "sternway"]
    watched = [_in_watched(one) for one in somewhere if one["kind"].startswith("Role") and one not in own_rights]
    cluster = [one for one in everywhere if one["kind"] in _RIGHTS]
    return {
        "Chart.yaml": _chart(),
        "values.yaml": _VALUES,
        "crds/crds.yaml": written(definitions()),
        "templates/common.yaml": written((*_but(alone, *kept), *own_rights)),
        "templates/rights.yaml": "{{- if .Values.watches }}\n{{- range .Values.watches }}\n---\n"
        + written(tuple(watched))
        + "{{- end }}\n{{- else }}\n"
        + written(tuple(cluster))
        + "{{- end }}\n",
        "templates/deployment.yaml": written(tuple(one for one in alone if one["kind"] in kept)),
    }


def _but(objects: tuple[Object, ...], *kinds: str) -> tuple[Object, ...]:
    return tuple(one for one in objects if one["kind"] not in kinds)


def _in_watched(one: Object) -> Object:
    """A right in the namespace that `range` names; `$` is the chart there."""
    found: Object = {**one, "metadata": {**one["metadata"], "namespace": "{{ . }}"}}
    if "subjects" in found:
        found["subjects"] = [{**subject, "namespace": "{{ $.Release.Namespace }}"} for subject in found["subjects"]]
    return found


def _chart() -> str:
    said = {
        "apiVersion": "v2",
        "name": "sternway",
        "description": "Automatic rollback for services behind a mesh",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": ">=1.25.0-0",
    }
    return yaml.safe_dump(said, sort_keys=False)


def main() -> None:
    """Write the files of charts/ and deploy/."""
    for path, text in chart().items():
        file = Path("charts/sternway", path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    Path("deploy/sternway.yaml").write_text(written(installation(Installation())), encoding="utf-8")


if __name__ == "__main__":
    main()
