"""A session with a sandbox: what one line sets, the next one finds. End it with Ctrl-D."""

import sys

from sandyard import Sandbox

with Sandbox.create("python", timeout=3600, idle_timeout=600) as sandbox, sandbox.shell() as shell:
    print(f"sandbox {sandbox.name}; a shell of its own", flush=True)
    for line in sys.stdin:
        result = shell.run(line, timeout=60)
        print(result.stdout_text, end="")
        print(result.stderr_text, end="", file=sys.stderr)
        if shell.closed:
            break
print("the sandbox is gone")
