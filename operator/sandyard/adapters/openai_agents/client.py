"""Makes sessions of the Agents SDK, and finds them again."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final, TypeVar

from sandyard.adapters import needs
from sandyard.adapters.openai_agents.session import SandyardSandboxSession, context_of
from sandyard.adapters.openai_agents.state import SandyardSandboxClientOptions, SandyardSandboxSessionState
from sandyard.client.errors import (
    SandboxCreateError,
    SandboxDeleted,
    SandboxEnded,
    SandboxError,
    SandboxExpired,
    SandboxNotFound,
)
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.session.cluster import Cluster

with needs("openai-agents"):
    from agents.sandbox.errors import WorkspaceStartError
    from agents.sandbox.manifest import Manifest
    from agents.sandbox.session import (
        BaseSandboxClient,
        Dependencies,
        Instrumentation,
        SandboxSession,
        SandboxSessionState,
    )
    from agents.sandbox.snapshot import SnapshotBase, SnapshotSpec, resolve_snapshot

__all__ = ["SandyardSandboxClient"]

T = TypeVar("T")
_GONE: Final = (SandboxNotFound, SandboxDeleted, SandboxEnded, SandboxExpired, SandboxCreateError)


class SandyardSandboxClient(BaseSandboxClient[SandyardSandboxClientOptions]):
    """Makes sessions, each in a sandbox of its own.

    Parameters
    ----------
    cluster
        A connection for all of them; default: each has its own.
    """

    backend_id = "sandyard"

    def __init__(
        self, cluster: Cluster | None = None, *, instrumentation: Instrumentation | None = None,
        dependencies: Dependencies | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._cluster = cluster
        self._instrumentation = instrumentation or Instrumentation()
        self._dependencies = dependencies

    async def create(
        self, *, snapshot: SnapshotSpec | SnapshotBase | None = None, manifest: Manifest | None = None,
        options: SandyardSandboxClientOptions,
    ) -> SandboxSession:  # fmt: skip
        """Make a session in a new sandbox."""
        session_id = uuid.uuid4()
        state = SandyardSandboxSessionState(
            session_id=session_id, manifest=self._validate_manifest_for_create(manifest or Manifest()),
            snapshot=resolve_snapshot(snapshot, str(session_id)), exposed_ports=options.exposed_ports, options=options,
        )  # fmt: skip
        return self._session(state, await self._made(state))

    async def resume(self, state: SandboxSessionState) -> SandboxSession:
        """Go on with a session: in its sandbox where it is still there, or in a new one from the snapshot.

        A sandbox that is still there lives for its whole ``timeout`` from now on.
        """
        mine = _mine(state, SandyardSandboxSessionState)
        mine.assert_path_grants_rebound()
        found = await self._found(mine)
        if found is None:
            mine.workspace_root_ready = False
        session = self._session(mine, found or await self._made(mine))
        session._inner._set_start_state_preserved(found is not None)
        return session

    async def delete(self, session: SandboxSession) -> SandboxSession:
        """Delete a session's sandbox."""
        await _mine(session._inner, SandyardSandboxSession).shutdown()
        return session

    def deserialize_session_state(self, payload: dict[str, object]) -> SandboxSessionState:
        """Read what `serialize_session_state` has written."""
        return self._deserialize_session_state_payload(payload, SandyardSandboxSessionState)

    def _session(self, state: SandyardSandboxSessionState, sandbox: AsyncSandbox) -> SandboxSession:
        return self._wrap_session(SandyardSandboxSession(state, sandbox), instrumentation=self._instrumentation)

    async def _made(self, state: SandyardSandboxSessionState) -> AsyncSandbox:
        asked = state.options
        try:
            sandbox = await AsyncSandbox.create(
                asked.pool, template=asked.template, namespace=asked.namespace, timeout=asked.timeout, env=asked.env,
                network=asked.network, wait_seconds=asked.wait_seconds, cluster=self._cluster,
            )  # fmt: skip
        except SandboxError as error:
            root = Path(state.manifest.root)
            raise WorkspaceStartError(path=root, context=context_of(error), cause=error, message=str(error)) from error
        state.names(sandbox)
        return sandbox

    async def _found(self, state: SandyardSandboxSessionState) -> AsyncSandbox | None:
        """The session's sandbox, if it can be used."""
        try:
            sandbox = await AsyncSandbox.connect(
                state.name, namespace=state.namespace, wait=False, cluster=self._cluster
            )  # fmt: skip
        except SandboxNotFound:
            return None
        try:
            # Another one of that name is somebody else's.
            if sandbox.uid == state.uid:
                await sandbox.resume()
                await sandbox.set_timeout(state.options.timeout)
                return sandbox
        except _GONE:
            pass
        except BaseException:
            await sandbox.close()
            raise
        await sandbox.close()
        return None


def _mine(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} is none of Sandyard's; give a {kind.__name__}")
    return value
