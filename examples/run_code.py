"""Run untrusted code in a sandbox of the pool ``python``, and show how it went."""

from sandyard import Sandbox

CODE = """
import os, platform
print("hello from", platform.release())
with open(os.environ["SANDYARD_ARTIFACTS"] + "/table.csv", "w") as file:
    file.write("n,square\\n" + "".join(f"{n},{n * n}\\n" for n in range(4)))
def main(a, b):
    return a + b
"""

with Sandbox.create("python", timeout=120) as sandbox:
    result = sandbox.run_code(CODE, args={"a": 40, "b": 2}, timeout=30)
    print(result.stdout_text, end="")
    print(result.outcome, result.value, [artifact.name for artifact in result.artifacts])
