"""Image references, which containers run the application's image, and which tool owns it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocore_crds.resources.snapshot import SavedContainer, SavedImage
from ocore_crds.rules import gitops
from ocore_operator.workloads.view import Commit, ContainerView, WorkloadView, first_with_template

#: Begins of the names of field managers that update without server-side apply.
TOOL_MANAGERS = ("argocd", "kustomize-controller", "helm", "kapp", "fleet", "configsync", "rancher")
#: Begins of the names of field managers of people and of this operator: what they have applied, no tool puts back.
NO_TOOLS = ("kubectl", "ocore-operator")


@dataclass(frozen=True)
class Reference:
    """An image reference in its parts."""

    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        """As a container names it."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse(image: str) -> Reference:
    """The parts of a reference. See https://kubernetes.io/docs/concepts/containers/images/#image-names"""
    name, _, digest = image.partition("@")
    head, colon, tag = name.rpartition(":")
    return Reference(head, tag, digest) if colon and head and "/" not in tag else Reference(name, "", digest)


def with_digest(image: str, digest: str) -> str:
    """The image by its digest, where that is known. The tag stays, for people; it does not count beside a digest."""
    return Reference(parse(image).repository, parse(image).tag, parse(image).digest or digest).text


def same(current: str, wanted: str) -> bool:
    """Whether a container with `current` runs the wanted image: by the digests where both have one, else by repository
    and tag."""
    mine, other = parse(current), parse(wanted)
    if mine.digest and other.digest:
        return mine.digest == other.digest
    return (mine.repository, mine.tag) == (other.repository, other.tag)


def digest_of(image: str, containers: Iterable[Mapping[str, Any]]) -> str:
    """The digest of an image, from the statuses of the containers that run it; empty where it is unknown, or where they
    run different ones."""
    if parse(image).digest:
        return parse(image).digest
    ids = {str(x.get("imageID") or "") for x in containers}
    digests = {parse(i.removeprefix("docker-pullable://")).digest for i in ids if "@" in i}
    return digests.pop() if len(digests) == 1 else ""


# --- containers ------------------------------------------------------------------------------------------------------


def containers(workload: Mapping[str, Any]) -> tuple[ContainerView, ...]:
    """The containers and init containers of the pod template, with the tool that owns the image of each."""
    template = workload["spec"]["template"]["spec"]
    return tuple(
        ContainerView(
            name=each["name"],
            init=init,
            image=str(each.get("image") or ""),
            owner=owner(workload, each["name"], init=init),
        )
        for field, init in (("containers", False), ("initContainers", True))
        for each in template.get(field) or ()
    )


def commits(workload: Mapping[str, Any], annotation: str) -> Commit:
    """The commit annotation of the pod template and of the workload."""
    template = workload["spec"]["template"].get("metadata") or {}
    of_template, of_workload = ((m.get("annotations") or {}).get(annotation) for m in (template, workload["metadata"]))
    return Commit(annotation, of_template, of_workload)


def owner(workload: Mapping[str, Any], container: str, *, init: bool = False) -> str:
    """The tool that sets the image of a container again; empty where none does.

    A tool is recognised by its mark on the workload, by server-side apply under a field manager that is not kubectl or
    this operator, or by the name of its field manager.
    """
    meta = workload["metadata"]
    tool = gitops.tool_of(meta)
    if tool:
        return tool
    for entry in meta.get("managedFields") or ():
        manager = str(entry.get("manager") or "")
        if entry.get("subresource") or manager.startswith(NO_TOOLS) or not _owns_image(entry, container, init=init):
            continue
        if entry.get("operation") == "Apply" or manager.lower().startswith(TOOL_MANAGERS):
            return f"field manager {manager}"
    return ""


def _owns_image(entry: Mapping[str, Any], container: str, *, init: bool) -> bool:
    found: Any = entry.get("fieldsV1") or {}
    field = "f:initContainers" if init else "f:containers"
    for key in ("f:spec", "f:template", "f:spec", field, f'k:{{"name":"{container}"}}'):
        found = found.get(key) or {}
    return "f:image" in found


def of_application(workloads: Sequence[WorkloadView], recorded: str) -> tuple[tuple[WorkloadView, ContainerView], ...]:
    """The containers that run the application's image: the first container of the first Deployment or StatefulSet, and
    every container and init container of any of them whose image has the same repository as that one has, or as the
    recorded image."""
    found = first_with_template(workloads)
    if found is None or not found.containers:
        return ()
    first = found.containers[0]
    repositories = {parse(first.image).repository, parse(recorded).repository}
    return tuple((w, x) for w in workloads for x in w.containers if parse(x.image).repository in repositories)


def of_repository(workloads: Sequence[WorkloadView], image: str) -> bool:
    """Whether a container of the workloads has an image of the same repository."""
    return any(parse(x.image).repository == parse(image).repository for w in workloads for x in w.containers)


def may_be_set(workloads: Sequence[WorkloadView], recorded: str, listed: tuple[str, ...]) -> bool:
    """Whether the recorded image may be set, and the present ones put back: each stays in its repository, or both are
    listed. `listed`: what images begin with that may be set in any container; `*`: all. The chart's admission policy
    has the same list."""
    if "*" in listed:
        return True
    return all(
        parse(x.image).repository == parse(recorded).repository
        or (x.image.startswith(listed) and recorded.startswith(listed))
        for _, x in of_application(workloads, recorded)
    )


def saved_image(workload: WorkloadView, names: Iterable[tuple[str, bool]]) -> SavedImage:
    """The images of these containers (name, whether it is an init container) and the commits, as they are now."""
    wanted = set(names)
    return SavedImage(
        containers=tuple(
            SavedContainer(name=x.name, init=x.init, image=x.image)
            for x in workload.containers
            if (x.name, x.init) in wanted
        ),
        template_commit=workload.commits.template,
        workload_commit=workload.commits.workload,
    )


@dataclass(frozen=True)
class TemplateChange:
    """Images and commits that a workload is to have."""

    containers: tuple[SavedContainer, ...]
    commits: Commit

    def patch(self) -> dict[str, Any]:
        """A strategic merge patch: containers are merged by their names."""
        spec: dict[str, Any] = {}
        for each in self.containers:
            field = "initContainers" if each.init else "containers"
            spec.setdefault(field, []).append({"name": each.name, "image": each.image})
        template: dict[str, Any] = {
            "spec": spec,
            "metadata": {"annotations": {self.commits.annotation: self.commits.template}},
        }
        return {
            "metadata": {"annotations": {self.commits.annotation: self.commits.workload}},
            "spec": {"template": template},
        }

    def within(self, workload: WorkloadView) -> "TemplateChange":
        """Only of the containers that the workload has: a patch would add the others."""
        names = {(x.name, x.init) for x in workload.containers}
        return TemplateChange(tuple(x for x in self.containers if (x.name, x.init) in names), self.commits)

    def holds(self, workload: WorkloadView) -> bool:
        """Whether the workload has them. One whose container does not exist any more cannot have that one, and does not
        wait for it."""
        now = {(x.name, x.init): x.image for x in workload.containers}
        images = all(now.get((x.name, x.init), x.image) == x.image for x in self.containers)
        return images and workload.commits == self.commits


def change_to(reference: str, commit: str, before: SavedImage, annotation: str) -> TemplateChange:
    """The change to the recorded image. The commit is set where the workload had one; where it had none, on the pod
    template."""
    text = commit or None
    on_workload = text if before.workload_commit is not None else None
    on_template = text if before.template_commit is not None or before.workload_commit is None else None
    return TemplateChange(
        tuple(x.model_copy(update={"image": reference}) for x in before.containers),
        Commit(annotation, on_template, on_workload),
    )


def change_back(before: SavedImage, annotation: str) -> TemplateChange:
    """The change back to what was saved."""
    return TemplateChange(before.containers, Commit(annotation, before.template_commit, before.workload_commit))
