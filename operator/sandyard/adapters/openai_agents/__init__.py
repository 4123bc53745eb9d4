"""A sandbox client of the OpenAI Agents SDK: a `SandboxAgent` works in a sandbox of a pool.

Needs the extra ``sandyard[openai-agents]``.  A session that ends has its workspace saved as its snapshot says, and its
sandbox deleted; resumed, it goes on in its sandbox where that is still there, or in a new one from the snapshot.
"""

from __future__ import annotations

from sandyard.adapters.openai_agents.client import SandyardSandboxClient
from sandyard.adapters.openai_agents.session import SandyardSandboxSession
from sandyard.adapters.openai_agents.state import SandyardSandboxClientOptions, SandyardSandboxSessionState

__all__ = [
    "SandyardSandboxClient",
    "SandyardSandboxClientOptions",
    "SandyardSandboxSession",
    "SandyardSandboxSessionState",
]
