"""Run code that nobody vouches for, in a sandbox of the pool ``python``, and show what it says."""

from sandyard import Sandbox

CODE = """
import platform
print("hello from", platform.release())
"""

with Sandbox.create("python", timeout=120) as sandbox:
    sandbox.files.write("main.py", CODE)
    result = sandbox.commands.run(["python3", "main.py"], timeout=30)
    print(result.stdout_text, end="")
    print("exit code", result.exit_code)
