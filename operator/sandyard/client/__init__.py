"""The Python client: make a sandbox, run things in it, and be sure that it goes."""

from sandyard.client import errors
from sandyard.client.exec.lines import by_line
from sandyard.client.info import SandboxInfo
from sandyard.client.result import CommandResult
from sandyard.client.sandbox import AsyncSandbox
from sandyard.client.session.cluster import Cluster
from sandyard.client.sync import Sandbox

__all__ = ["AsyncSandbox", "Cluster", "CommandResult", "Sandbox", "SandboxInfo", "by_line", "errors"]
