"""What a session is made of, and what finds it again."""

from __future__ import annotations

from typing import Any, Final, Literal

from sandyard.adapters import needs
from sandyard.client.sandbox import AsyncSandbox

with needs("openai-agents"):
    from agents.sandbox.session import BaseSandboxClientOptions, SandboxSessionState

__all__ = ["SandyardSandboxClientOptions", "SandyardSandboxSessionState"]

# A sandbox whose program was killed is deleted after so many seconds.
_LIFETIME_SECONDS: Final = 3600


class SandyardSandboxClientOptions(BaseSandboxClientOptions):
    """What the sandbox of a session is made of; `AsyncSandbox.create` says what each value means.

    Attributes
    ----------
    pool, template
        One of the two: the pool that it comes from, or an image or a whole template.
    timeout
        Seconds after which it is deleted in any case: longer than the longest session.
    exposed_ports
        Ports of the sandbox that `resolve_exposed_port` makes reachable from this machine.
    """

    type: Literal["sandyard"] = "sandyard"
    pool: str | None = None
    template: str | dict[str, Any] | None = None
    namespace: str | None = None
    timeout: int = _LIFETIME_SECONDS
    env: dict[str, str] | None = None
    network: dict[str, Any] | None = None
    wait_seconds: int | None = None
    exposed_ports: tuple[int, ...] = ()


class SandyardSandboxSessionState(SandboxSessionState):
    """What finds a session's sandbox again, or makes another one."""

    type: Literal["sandyard"] = "sandyard"
    options: SandyardSandboxClientOptions
    name: str = ""
    namespace: str = ""
    uid: str = ""

    def names(self, sandbox: AsyncSandbox) -> None:
        """The session is in *sandbox* from now on."""
        self.name, self.namespace, self.uid = sandbox.name, sandbox.namespace, sandbox.uid
