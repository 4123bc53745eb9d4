"""hack/demo and hack/cluster, as far as they need no cluster: which one is meant, how they end, what they remove."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import pathlib
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from localcluster import cli, paths


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> ModuleType:
    """The script as a module, on a machine without clusters."""
    monkeypatch.setenv("SANDYARD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SANDYARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(sys, "argv", ["hack/demo"])
    monkeypatch.chdir(paths.REPOSITORY)
    loader = importlib.machinery.SourceFileLoader("demo_script", str(paths.REPOSITORY / "hack" / "demo"))
    spec = importlib.util.spec_from_loader("demo_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [paths.DEFAULT_NAME, "mine"])
def test_the_tour_s_own_shell_may_run_the_demo_again(
    demo: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There KUBECONFIG is that of the local cluster, which may have been ended meanwhile."""
    asked: list[list[str]] = []

    def run(arguments: list[str]) -> int:
        asked.append(arguments)
        raise paths.ClusterError("enough")

    monkeypatch.setattr(cli, "run", run)
    monkeypatch.setenv("KUBECONFIG", str(paths.state_dir() / "clusters" / name / "kubeconfig"))
    assert demo.main() == 1
    assert asked == [["up", "--name", name, "--provider", "local"]]


@pytest.mark.parametrize("kubeconfig", ["/etc/kubernetes/admin.conf", "~/.kube/config", "", None])
def test_a_cluster_of_somebody_else_is_not_taken_for_ours(demo: ModuleType, kubeconfig: str | None) -> None:
    assert demo.own_cluster(kubeconfig) is None


def test_it_asks_for_an_image_where_the_cluster_is_somebody_else_s(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/etc/kubernetes/admin.conf")
    assert demo.main() == 1
    assert "give --image with the operator's image" in capsys.readouterr().err


def test_an_interrupt_ends_it_in_one_line(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", run)
    assert demo.main() == 130
    assert capsys.readouterr().err.strip() == "demo: interrupted; run it again to go on from here"


def test_its_last_line_names_the_cluster(demo: ModuleType) -> None:
    assert 'eval "$(hack/cluster env)"; end it: make down' in demo.closing(paths.DEFAULT_NAME, 12)
    assert 'eval "$(hack/cluster env --name mine)"; end it: hack/cluster down --name mine' in demo.closing("mine", 12)


@pytest.fixture
def watched(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Callable[[str], list[object]]:
    """Watches pools with a program of that text; the answer is what kubectl was asked for meanwhile."""
    asked: list[object] = []

    def run(self: object, *command: str, show: bool = True) -> None:
        asked.append(" ".join(command))

    monkeypatch.setattr(demo, "time", SimpleNamespace(sleep=asked.append))
    monkeypatch.setattr(demo, "tools", SimpleNamespace(ensure=lambda _: {}))
    monkeypatch.setattr(demo.Demo, "run", run)

    def watch(text: str) -> list[object]:
        program = tmp_path / "sandyard"
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        demo.Demo("config").watch_pools(program, paths.REPOSITORY / "examples" / "sandbox.yaml")
        return asked

    return watch


def test_the_pools_are_watched_for_a_few_seconds_while_a_claim_comes_in(
    watched: Callable[[str], list[object]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert watched('echo "$@" with "$KUBECONFIG"') == [1.5, "kubectl apply -f examples/sandbox.yaml"]
    out = capfd.readouterr().out
    assert out == "\n$ sandyard pool watch\npool watch --interval=0.5 --looks=10 with config\n"


def test_a_watch_that_fails_ends_the_demo(watched: Callable[[str], list[object]]) -> None:
    with pytest.raises(paths.ClusterError, match="exit status 3"):
        watched("exit 3")


def test_clean_removes_what_was_built_and_nothing_else(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*paths.CACHED, "of-somebody-else"):
        (paths.cache_dir() / name / "x").mkdir(parents=True)
    assert cli.main(["clean"]) == 0
    assert [path.name for path in paths.cache_dir().iterdir()] == ["of-somebody-else"]


def test_clean_leaves_the_cache_to_clusters_that_use_it(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    (paths.state_dir() / "clusters" / "mine").mkdir(parents=True)
    (paths.cache_dir() / "tools").mkdir(parents=True)
    assert cli.main(["clean"]) == 1
    assert "hack/cluster down --name mine" in capsys.readouterr().err
    assert (paths.cache_dir() / "tools").exists()
