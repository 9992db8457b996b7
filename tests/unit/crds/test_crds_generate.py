"""The generated files: up to date, complete, and `--check` finds any difference."""

import shutil
from pathlib import Path

import pytest
import yaml

from ocore_crds import failpoints, generate, model
from ocore_crds.kinds import KINDS, Kind
from ocore_crds.schema import from_models, reference


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every generated file. Read only: see `written`."""
    folder = tmp_path_factory.mktemp("generated")
    assert generate.main(["--root", str(folder)]) == 0
    return folder


@pytest.fixture
def written(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test, which compares it with the same contents, not with those of another rendering."""
    copied = shutil.copytree(generated, tmp_path / "written")
    files = {p.relative_to(generated).as_posix(): p.read_text() for p in generated.rglob("*") if p.is_file()}
    monkeypatch.setattr(generate, "rendered", lambda: files)
    return copied


def test_the_repository_is_up_to_date(repository: Path) -> None:
    assert generate.differences(repository) == ""


def test_check_passes_on_what_was_written(generated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check", "--root", str(generated)]) == 0
    assert capsys.readouterr().out == ""


def test_check_shows_a_diff_and_writes_nothing(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = written / "docs/reference/environment.md"
    page.write_text(page.read_text() + "by hand\n")
    assert generate.main(["--check", "--root", str(written)]) == 1
    captured = capsys.readouterr()
    assert "-by hand" in captured.out
    assert "docs/reference/environment.md" in captured.out
    assert "make generate" in captured.err
    assert page.read_text().endswith("by hand\n")


def test_check_finds_a_missing_file(written: Path) -> None:
    (written / "crds/ocore.dev_snapshots.yaml").unlink()
    assert generate.main(["--check", "--root", str(written)]) == 1


@pytest.mark.parametrize("folder", generate.OWNED)
def test_a_stale_file_is_found_and_removed(written: Path, folder: str) -> None:
    stale = written / folder / f"old{generate.OWNED[folder]}"
    stale.write_text("old\n")
    assert generate.main(["--check", "--root", str(written)]) == 1
    generate.write(written)
    assert not stale.exists()


def test_a_foreign_file_is_left_alone(written: Path) -> None:
    foreign = written / "crds/README.txt"
    foreign.write_text("mine\n")
    generate.write(written)
    assert foreign.exists()
    assert generate.differences(written) == ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
class TestFiles:
    def test_yaml_reads_back_as_the_crd(self, kind: Kind) -> None:
        text = generate.crd_file(kind)
        assert yaml.safe_load(text) == from_models.crd(kind)
        assert "&id" not in text

    def test_the_chart_has_the_same_spec_and_keeps_it(self, kind: Kind) -> None:
        lines = generate.chart_crd_file(kind).splitlines()
        assert lines[0] == "{{- if .Values.crds.install }}"
        assert lines[-1] == "{{- end }}"
        plain = yaml.safe_load("\n".join(line for line in lines if "{{" not in line))
        assert plain["spec"] == from_models.crd(kind)["spec"]
        assert plain["metadata"]["annotations"] == from_models.KEPT | {"helm.sh/resource-policy": "keep"}

    def test_the_reference_has_every_field_and_rule(self, kind: Kind) -> None:
        page = reference.kind_page(kind)
        whole = from_models.object_schema(kind)
        sections = dict(zip(("spec", "status"), page.split("\n## status\n"), strict=True))
        for part, section in sections.items():
            for field in from_models.fields(whole["properties"][part], ""):
                row = next(line for line in section.splitlines() if line.startswith(f"| `{field.path.lstrip('.')}`"))
                assert field.schema["description"] in row
                assert ("(required)" in row) == (field.required and part == "spec")
        rules: list[str] = []
        from_models.walk(
            whole, "", lambda _, node: rules.extend(r["message"] for r in node.get(from_models.VALIDATIONS, ()))
        )
        assert rules
        for message in rules:
            assert message in page


def test_a_template_never_runs_what_a_description_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "crd", lambda _: {"metadata": {"annotations": {}}, "spec": {"x": "{{ fail }}"}})
    assert """x: '{{ "{{" }} fail }}'""" in generate.chart_crd_file(KINDS[0])


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 32}, "1 to 32"),
        ({"type": "integer", "minimum": 1}, "at least 1"),
        ({"type": "string", "maxLength": 5}, "at most 5 characters"),
        ({"type": "string", "minLength": 36, "maxLength": 36}, "36 characters"),
        ({"type": "string", "minLength": 36, "pattern": model.UUID_PATTERN}, "a UUID in lower case"),
        ({"type": "string", "enum": ["A", "B"]}, "`A` or `B`"),
        ({"type": "array", "maxItems": 3, "x-kubernetes-list-map-keys": ["name"]}, "at most 3 items, unique by name"),
        ({"type": "string", "pattern": "^a$"}, "`^a$`"),
    ],
)
def test_bounds_in_words(field: from_models.Schema, words: str) -> None:
    assert reference.bounds(field) == words


def test_every_failpoint_is_listed() -> None:
    page = reference.failpoints_page()
    for name, where in failpoints.REGISTRY.items():
        assert f"| `{name}` | {where} |" in page


def test_a_pipe_does_not_end_a_cell() -> None:
    assert "(E\\|P\\|T" in reference.kind_page(KINDS[0])
