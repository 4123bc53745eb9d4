"""Versions agree, and the workflows build, check and publish what they should; `make lint` has actionlint read them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from localcluster import paths

TOP = paths.REPOSITORY
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (TOP / ".github" / "workflows").glob("*.yaml")}
CHANGES = (TOP / "CHANGELOG.md").read_text()


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOP / "hack" / "release-check"), *arguments]
    return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)


def test_package_charts_and_change_log_name_one_version() -> None:
    version = re.findall(r"^## \[(\d.*?)\]", CHANGES, re.MULTILINE)[0]
    done = check(f"v{version}", "--notes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("### ")
    assert "]: " not in done.stdout


def test_a_tag_of_another_version_names_every_place_that_differs() -> None:
    done = check("v99.0.0")
    assert done.returncode == 1
    charts = ("charts/sandyard/Chart.yaml: appVersion", "charts/sandyard-pools/Chart.yaml: version")
    for place in ("pyproject.toml", "CHANGELOG.md", *charts):
        assert place in done.stderr


def test_the_change_log_is_kept_as_it_says() -> None:
    titles = re.findall(r"^## (.*)$", CHANGES, re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", title) for title in titles[1:])
    links = re.findall(r"^\[(.+?)\]: \S+$", CHANGES, re.MULTILINE)
    assert links == [title.partition("]")[0].removeprefix("[") for title in titles]
    # A blank line stands around titles, and none within a list.
    lists = re.sub(r"\n\n(?=#|\[)|(?<=\n)(#.*)\n\n", "", CHANGES.partition("## [Unreleased]")[2])
    assert "\n\n-" not in lists
    kinds = set(re.findall(r"^### (.*)$", CHANGES, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(name, job, made) for name, flow in WORKFLOWS.items() for job, made in flow["jobs"].items()]


@pytest.mark.parametrize(("flow", "job", "made"), jobs(), ids=lambda part: part if isinstance(part, str) else "")
def test_a_job_ends_by_itself_and_has_no_more_rights_than_it_needs(flow: str, job: str, made: dict[str, Any]) -> None:
    assert made["timeout-minutes"] <= 90
    assert WORKFLOWS[flow]["permissions"] == {"contents": "read"}
    rights = made.get("permissions", {})
    assert set(rights) <= {"contents", "id-token", "attestations"}
    for step in made["steps"]:
        for script in re.findall(r"(?:^|[ (])(hack/[\w-]+)", step.get("run", ""), re.MULTILINE):
            assert (TOP / script).exists(), script


def steps(job: str, action: str) -> list[dict[str, Any]]:
    return [step.get("with", {}) for step in WORKFLOWS["release"]["jobs"][job]["steps"]
            if step.get("uses", "").startswith(action)]  # fmt: skip


def test_images_of_two_architectures_have_an_sbom_and_provenance() -> None:
    (build,) = steps("image", "docker/build-push-action")
    assert build["platforms"].split(",") == ["linux/amd64", "linux/arm64"]
    assert (build["sbom"], build["provenance"], build["push"]) == (True, "mode=max", True)
    assert (TOP / build["file"]).exists()
    for job in ("image", "charts", "wheel"):
        assert steps(job, "actions/attest-build-provenance"), job
    assert steps("wheel", "actions/attest-sbom")


def test_a_release_takes_its_own_artifacts_and_no_others() -> None:
    (taken,) = steps("release", "actions/download-artifact")
    pattern = re.compile(taken["pattern"].replace("*", ".*"))
    for job in ("charts", "wheel"):
        (left,) = steps(job, "actions/upload-artifact")
        assert pattern.fullmatch(left["name"])


def test_what_builds_tools_keeps_them_in_a_cache_of_its_own() -> None:
    flow = WORKFLOWS["ci"]
    # The action for caches takes no path with such a part.
    assert ".." not in flow["env"]["SANDYARD_CACHE"]
    for name, made in flow["jobs"].items():
        builds = any(re.search(r"hack/|make ", step.get("run", "")) for step in made["steps"])
        prepared = any(step.get("uses") == "./.github/actions/prepare" for step in made["steps"])
        assert builds == prepared, name
    action = yaml.safe_load((TOP / ".github" / "actions" / "prepare" / "action.yaml").read_text())
    (cache,) = (step["with"] for step in action["runs"]["steps"] if step["uses"].startswith("actions/cache@"))
    assert "${{ env.SANDYARD_CACHE }}" in cache["path"].splitlines()
    # Keys are written once: jobs that share one would keep the tools of the fastest.
    assert "github.job" in cache["key"] and "github.job" in cache["restore-keys"]


def test_a_release_is_checked_first_and_comes_last() -> None:
    needs = {job: made.get("needs", []) for job, made in WORKFLOWS["release"]["jobs"].items()}
    assert set(needs["release"]) == {"image", "charts", "wheel"}
    assert needs["image"] == needs["wheel"] == "check"


def test_ci_runs_every_check_and_test_and_kind() -> None:
    run = " ".join(step.get("run", "") for made in WORKFLOWS["ci"]["jobs"].values() for step in made["steps"])
    for command in ("hack/lint", "make test", "make api-oldest", "--provider kind", "mkdocs build --strict"):
        assert command in run
