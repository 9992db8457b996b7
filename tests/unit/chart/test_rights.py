"""The admission policy on the operator's Jobs names every field and path that the Jobs have. The API server checks the
same with every Job."""

import re

from ocore_operator.jobs.building import request_parts, stores
from support.operator.jobs import SITES, all_jobs

from .cel import CHART

#: All that the rules name between quotation marks.
NAMED = set(re.findall(r'"([^"]*)"', (CHART / "templates/admission-operator.yaml").read_text()))


def test_row_83_the_rules_name_what_jobs_have() -> None:
    needed: set[str] = set()
    for place in SITES.values():
        for job in all_jobs(place).values():
            pod, metadata = job["spec"]["template"]["spec"], job["metadata"]
            needed |= {*pod, *metadata["labels"], *metadata["annotations"], metadata["labels"]["ocore.dev/kind"]}
            needed |= pod["securityContext"].keys()
            for container in pod["containers"]:
                needed |= {*container, container["name"], *container["securityContext"]}
                needed |= {e["name"] for e in container["env"]} | {m["mountPath"] for m in container["volumeMounts"]}
            for volume in pod["volumes"]:
                needed |= (volume.keys() - {volume["name"]}) | {
                    k for s in volume.get("projected", {}).get("sources", ()) for k in s
                }
                needed |= volume.get("ephemeral", {}).get("volumeClaimTemplate", {}).get("spec", {}).keys()
    assert needed <= NAMED, needed - NAMED


def test_row_83_the_rules_name_every_path_that_a_part_is_mounted_at() -> None:
    files = {"SIGNAL_FILE", "READY_FILE"}  # in one of the folders
    constants = (*vars(request_parts).items(), *vars(stores).items())
    paths = {v for k, v in constants if k.isupper() and str(v).startswith("/") and k not in files}
    assert {request_parts.CLAIM, stores.STORE, stores.SOURCE_STORE} < paths
    assert len(paths) > 10
    assert paths <= NAMED, paths - NAMED
    assert request_parts.READY_FILE in NAMED
