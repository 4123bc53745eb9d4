"""Puts the engine together: the only place where its parts are made.

From the bottom up, each part gets what it needs by its constructor, and nothing is set later.
Waking is adding a key to a queue; the queues are made first and get their handlers last.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from sandyard.engine.caches import Caches
from sandyard.engine.claims.claims import Claims
from sandyard.engine.cluster.events import Recorder
from sandyard.engine.cluster.isolation import ApiServers, Isolation
from sandyard.engine.cluster.kubelet_resync import KubeletResync
from sandyard.engine.cluster.objects import Objects
from sandyard.engine.cluster.pods import Pods
from sandyard.engine.cluster.policies import Policies
from sandyard.engine.cluster.setup_network import SetupNetwork
from sandyard.engine.cluster.starts import Starts
from sandyard.engine.cluster.workspaces import Workspaces
from sandyard.engine.cluster.writer import RunInPod, Writer
from sandyard.engine.engine import Engine
from sandyard.engine.health import Health
from sandyard.engine.intake import Intake
from sandyard.engine.listing import Listing
from sandyard.engine.loops.clock import Clock, SteadyClock
from sandyard.engine.loops.queues import QueueFactory, Queues
from sandyard.engine.loops.timers import Timers
from sandyard.engine.loops.turns import Turns
from sandyard.engine.loops.workqueue import WorkQueue
from sandyard.engine.pools.reconcile import Pools as PoolReconciler
from sandyard.engine.pools.start import PoolStarts
from sandyard.engine.pools.status import PoolWriter
from sandyard.engine.process.leadership import Leadership
from sandyard.engine.process.metrics import Metrics
from sandyard.engine.process.settings import Settings
from sandyard.engine.process.traces import Traces
from sandyard.engine.routing import Routing
from sandyard.engine.sandboxes.acquire import Acquire
from sandyard.engine.sandboxes.adopt import Adoption
from sandyard.engine.sandboxes.errands import Errands
from sandyard.engine.sandboxes.execute import Execute
from sandyard.engine.sandboxes.freeze import Freezing
from sandyard.engine.sandboxes.network import Networks
from sandyard.engine.sandboxes.pods import OwnPods
from sandyard.engine.sandboxes.reconcile import Sandboxes
from sandyard.engine.sandboxes.reporting import Reporting
from sandyard.engine.sandboxes.reuse import Reuse
from sandyard.engine.sandboxes.teardown import Teardown
from sandyard.engine.sandboxes.telling import Telling
from sandyard.engine.sandboxes.view import Views
from sandyard.engine.sandboxes.write import SandboxWriter
from sandyard.engine.state.exposures import Exposures
from sandyard.engine.state.store import Store
from sandyard.engine.sweep import Sweep
from sandyard.engine.work import Work
from sandyard.kube import remotecommand
from sandyard.kube.client import Client
from sandyard.kube.config import ClusterConfig
from sandyard.kube.lease import Lease

__all__ = ["Outside", "compose", "engine"]


@dataclass(frozen=True)
class Outside:
    """What the engine meets the world with; a simulation brings its own.

    Attributes
    ----------
    client
        For everything but the lease.
    lease
        None: this process is the only one, and leads as soon as its caches are filled.
    connections
        What has to be open while the engine runs.
    run_in_pod
        Runs a command in a container.
    """

    client: Client
    lease: Lease | None
    connections: tuple[AbstractAsyncContextManager[Any], ...]
    run_in_pod: RunInPod = remotecommand.run
    traces: Traces = field(default_factory=Traces)
    queue: QueueFactory = WorkQueue
    clock: Clock = field(default_factory=Clock)


def engine(config: ClusterConfig, settings: Settings, lease_lost: Callable[[], None]) -> Engine:
    """The engine of a process that serves the cluster of *config*; it calls *lease_lost* when another takes over."""
    metrics, traces = Metrics(), Traces.configured(os.environ)
    client = Client(config, observer=metrics.observe_request, user_agent="sandyard-operator")
    if not settings.leader_election:
        return compose(Outside(client, None, (client, traces), traces=traces), settings, metrics, lease_lost)
    # Renewing the lease must not wait behind a burst of claims for a connection.
    own = Client(config, timeout_seconds=3, connections=2, user_agent="sandyard-operator-lease")
    lease = Lease(
        own, settings.namespace, settings.lease_name, settings.identity, settings.lease_duration_seconds,
        settings.lineage,
    )  # fmt: skip
    return compose(Outside(client, lease, (client, own, traces), traces=traces), settings, metrics, lease_lost)


def compose(outside: Outside, settings: Settings, metrics: Metrics, lease_lost: Callable[[], None]) -> Engine:
    """All parts of one engine, each made once."""
    clock = SteadyClock(outside.clock)
    exposures = Exposures(settings.policy.labels, withholds=settings.isolation_network == "Required")
    store = Store(clock, exposures, settings.namespaces)
    queues = Queues.make(
        outside.queue, store.sandboxes.namespace_of, store.pools.namespace_of, store.pods.namespace_of
    )  # fmt: skip
    timers = Timers(queues.sandboxes.add, clock)
    leadership = Leadership(outside.lease)
    api_servers = ApiServers(clock)
    isolation = Isolation(settings, api_servers)

    turns = Turns(clock)
    writer = Writer(outside.client, leadership.may_write, outside.run_in_pod, turns)
    pods, objects, workspaces = Pods(writer), Objects(writer, isolation), Workspaces(writer)
    recorder = Recorder(writer, settings.identity, turns, clock)
    policies = Policies(store, writer, settings, api_servers, queues.policies, clock)
    starts = Starts(pods, policies, isolation, metrics)
    kubelet_resync, setup_network = KubeletResync(pods, clock), SetupNetwork(pods)

    claims = Claims(store, pods, queues, metrics, clock)
    routing = Routing(store, queues, claims)
    pool_writer = PoolWriter(store, claims, routing, objects, queues.pool_status, recorder, metrics, clock)
    pool_starts = PoolStarts(starts, routing, queues.pools, queues.pool_status, recorder, metrics, clock)
    pools = PoolReconciler(
        store, claims, queues, clock, pool_writer, pool_starts, pods, setup_network, kubelet_resync
    )  # fmt: skip

    sandbox_writer = SandboxWriter(store, objects, queues.sandboxes)
    reporting = Reporting(store.sandboxes, recorder, metrics, outside.traces, clock)
    own_pods = OwnPods(store, pods, kubelet_resync, queues.sandboxes)
    acquire = Acquire(store, claims, policies, starts, own_pods, workspaces, queues.pools, clock)
    reuse = Reuse(store, pods, queues, recorder, metrics, clock)
    networks = Networks(store, pods, policies, setup_network, recorder)
    teardown = Teardown(
        store, queues.sandboxes, clock, sandbox_writer, reporting, reuse, own_pods, workspaces, turns
    )  # fmt: skip
    errands = Errands(store.sandboxes, queues)
    execute = Execute(
        queues.sandboxes, sandbox_writer, reporting, own_pods, acquire, networks, Freezing(pods),
        errands, Adoption(workspaces, sandbox_writer), teardown,
    )  # fmt: skip
    views = Views(store, claims, settings, clock)
    telling = Telling(store, queues.sandboxes, views, sandbox_writer, reporting, clock)
    sandboxes = Sandboxes(store, queues, timers, views, execute, claims, acquire, telling, clock)

    intake = Intake(store, isolation, starts, claims, routing, sandboxes, pool_writer, queues.sandboxes, clock)
    listing = Listing(store, objects, intake, settings.namespaces, clock)
    caches = Caches(outside.client, settings.namespaces, intake, policies, listing)
    sweep = Sweep(listing, store, objects, pods, workspaces, policies, settings, metrics, clock)
    handlers = (
        (queues.sandboxes, sandboxes.reconcile),
        (queues.pools, pools.reconcile),
        (queues.pool_status, pool_writer.report),
        (queues.policies, policies.reconcile),
        (queues.errands, errands.run),
        (queues.restarts, reuse.trigger),
    )
    work = Work(store, queues, handlers, timers, recorder, policies, sweep)
    health = Health(caches, store, claims, queues, turns, recorder, metrics, clock)
    return Engine(settings, outside.client, outside.connections, leadership, caches, health, work, lease_lost)
