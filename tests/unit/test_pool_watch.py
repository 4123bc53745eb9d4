"""`sandyard pool watch`: the figures, a screen of 80 columns, and lines in a pipe."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from sandyard.cli import watching
from sandyard.cli.main import main
from sandyard.client.session.cluster import POOLS, Cluster, Resource


def pool(name: str = "python", **status: Any) -> dict[str, Any]:
    told = {"replicas": 2, "starting": 1, "claimed": 3, "warmHits": 10, "coldStarts": 0, "conditions": [
        {"type": "Ready", "status": "True", "reason": "Ready"},
        {"type": "Reconciling", "status": "False", "reason": "Ready"}]}  # fmt: skip
    return {"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {"replicas": 5},
            "status": {**told, **status}}  # fmt: skip


def sandbox(phase: str, ready_at: str | None = None, of: str = "python", namespace: str = "ns") -> dict[str, Any]:
    status = {"phase": phase, **({"readyAt": ready_at} if ready_at else {})}
    return {"metadata": {"name": "s", "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"poolRef": {"name": of}}, "status": status}  # fmt: skip


def test_figures_are_of_the_pools_own_sandboxes() -> None:
    made = [sandbox("Ready", "2026-01-01T00:00:00.5Z"), sandbox("Ready", "2026-01-01T00:00:09Z"), sandbox("Pending"),
            sandbox("Failed"), sandbox("Failed", of="other"), sandbox("Failed", namespace="elsewhere")]  # fmt: skip
    (row,) = watching.Watch().look([pool()], made, 0.0)
    assert (row.warm, row.starting, row.claimed, row.queue, row.failed) == ("2/5", 1, 3, 1, 1)
    assert (row.p50, row.p99) == (8.0, 8.0)
    assert row.cells[7:9] == ("8s", "8s")
    (fast,) = watching.Watch().look([pool()], made[:1], 0.0)
    assert fast.cells[7:9] == ("<1s", "<1s")


def test_the_rate_is_that_of_the_last_minute_and_begins_anew_with_the_count() -> None:
    watch = watching.Watch()
    seen = ((0, 0), (10, 20), (50, 20), (100, 20))
    rates = [watch.look([pool(warmHits=hits)], [], at)[0].rate for at, hits in seen]
    assert rates == [0.0, 2.0, 0.4, 0.0]
    assert watch.look([pool(warmHits=3)], [], 170)[0].rate == 0.0


@pytest.mark.parametrize("width", [80, 40])
def test_a_screen_is_no_wider_and_no_longer_than_the_terminal_and_has_no_colours(width: int) -> None:
    pools = [pool(f"a-pool-with-a-rather-long-name-{at}", reason="x") for at in range(40)]
    text = watching.screen(watching.Watch().look(pools, [], 0.0), width, 24, title="Pools")
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    assert lines[-1] == "... and 20 more"
    assert "\x1b" not in text


def test_what_a_cluster_says_gives_no_orders_to_a_terminal() -> None:
    evil = pool(conditions=[{"type": "Reconciling", "status": "True", "reason": "\x1b[2J"}])
    (row,) = watching.Watch().look([evil], [], 0.0)
    assert "\x1b" not in watching.line(row, 0.0) + watching.screen([row], 80, 24, title="t")


def test_in_a_pipe_each_change_of_a_pool_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    looks = iter([[pool(), pool("go")], [pool(), pool("go")], [pool(replicas=1), pool("go")]])

    async def items(self: Cluster, resource: Resource, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return next(looks) if resource is POOLS else []

    monkeypatch.setattr(Cluster, "items", items)
    config = tmp_path / "config"
    config.write_text("{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, "
                      "namespace: ns}}], clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]}")  # fmt: skip
    done = CliRunner().invoke(main, ["--kubeconfig", str(config), "pool", "watch", "--interval", "0.2", "--looks", "3"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split()[1] for line in lines] == ["python", "go", "python"]
    assert "warm=1/5" in lines[-1] and "\x1b" not in done.output
