"""Files of a sandbox: whole and exact, written in one step or not at all.

Everything goes through commands of the image (``cat``, ``mv``, ``mkdir``), because nothing else reaches
every volume of every runtime.  Paths are taken as they stand, from the template's working folder
where they are not absolute; nothing in them is expanded.
"""

from __future__ import annotations

import hashlib
import stat as modes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandyard.client.errors import (
    CommandFailed,
    InvalidArgument,
    IsADirectory,
    NoSpace,
    PermissionDenied,
    SandboxError,
    SandboxFileExists,
    SandboxFileNotFound,
)

if TYPE_CHECKING:
    from sandyard.client.sandbox import AsyncSandbox

__all__ = ["FileInfo", "Files"]

_READ_LIMIT: Final = 100 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 120.0
# Written beside the target, so that the last step is a rename; what arrived is counted before it.
_WRITE: Final = r"""
p=$1 n=$2 t=$1.sandyard-$3
case $p in */*) mkdir -p -- "${p%/*}" || exit ;; esac
[ ! -d "$p" ] || { echo "$p: Is a directory" >&2; exit 1; }
trap 'rm -f -- "$t"' EXIT
cat >"$t" || exit
s=$(wc -c <"$t") && [ "$s" -eq "$n" ] || { echo "only $s of $n bytes arrived" >&2; exit 1; }
[ ! -e "$p" ] || { m=$(stat -c %a -- "$p") && chmod "$m" -- "$t"; } 2>/dev/null
mv -f -- "$t" "$p"
"""
_EDIT_NOT_ONCE: Final = "old text is there {count} times, not once; give more of what surrounds it, or replace_all=True"
_LIST: Final = r"""
cd -- "$1" || exit
for f in * .*; do
  case $f in .|..) continue ;; esac
  [ -e "$f" ] || [ -L "$f" ] || continue
  printf '%s\000' "$f"
  stat -c '%f %s %Y %u %g' -- "$f" || echo 0 0 0 0 0
done
"""
_ERRORS: Final[dict[str, type[SandboxError]]] = {
    "No such file or directory": SandboxFileNotFound,
    "nonexistent directory": SandboxFileNotFound,
    "can't cd to": SandboxFileNotFound,
    "Permission denied": PermissionDenied,
    "Operation not permitted": PermissionDenied,
    "Read-only file system": PermissionDenied,
    "Is a directory": IsADirectory,
    "File exists": SandboxFileExists,
    "No space left on device": NoSpace,
    "Disk quota exceeded": NoSpace,
}


@dataclass(frozen=True)
class FileInfo:
    """A file, folder or link.

    Attributes
    ----------
    mode
        As `os.stat` gives it, type included.
    modified_at
        Seconds since the epoch.
    """

    name: str
    mode: int
    size: int
    modified_at: int
    uid: int
    gid: int

    @property
    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return modes.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file."""
        return modes.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return modes.S_ISLNK(self.mode)


class Files:
    """The files of one sandbox."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        self._sandbox = sandbox

    async def read(self, path: str, *, max_bytes: int = _READ_LIMIT) -> bytes:
        """The whole file.

        Raises
        ------
        SandboxFileNotFound, IsADirectory, PermissionDenied
            It cannot be read.
        InvalidArgument
            It is longer than *max_bytes*.
        """
        done = await self._sh('exec cat -- "$1"', path, keep=2 * max_bytes + 2)
        if len(done) > max_bytes:
            raise InvalidArgument(f"{path}: longer than max_bytes ({max_bytes})", sandbox=self._sandbox.name)
        return done

    async def read_text(self, path: str, *, max_bytes: int = _READ_LIMIT) -> str:
        """The whole file as UTF-8."""
        return (await self.read(path, max_bytes=max_bytes)).decode()

    async def write(self, path: str, data: bytes | str) -> None:
        """Write the whole file, folders above it included: afterwards it is the new one, or still the old."""
        content = data.encode() if isinstance(data, str) else data
        digest = hashlib.sha256(content).hexdigest()[:16]
        await self._sh(_WRITE, path, str(len(content)), digest, stdin=content)

    async def append(self, path: str, data: bytes | str) -> None:
        """Add to the end of the file; it is made if need be."""
        await self._sh('exec cat >>"$1"', path, stdin=data.encode() if isinstance(data, str) else data)

    async def edit(self, path: str, changes: list[tuple[str, str]], *, replace_all: bool = False) -> int:
        """Replace each old text by its new one, exactly; either all of them or none.

        Returns
        -------
        int
            Number of replacements.

        Raises
        ------
        InvalidArgument
            An old text is not there, or not only once and *replace_all* is off; the file is unchanged.
        """
        content, made = await self.read(path), 0
        for old, new in changes:
            count = content.count(old.encode()) if old else 0
            if count == 0 or (count > 1 and not replace_all):
                told = _EDIT_NOT_ONCE.format(count=count) if count else "old text is not in the file"
                raise InvalidArgument(f"{path}: {told}", sandbox=self._sandbox.name)
            content = content.replace(old.encode(), new.encode())
            made += count
        await self.write(path, content)
        return made

    async def list(self, path: str = ".") -> list[FileInfo]:
        """What is in the folder, sorted by name."""
        return sorted(_infos(await self._sh(_LIST, path)), key=lambda info: info.name)

    async def stat(self, path: str) -> FileInfo:
        """What the file is; a link is not followed."""
        told = await self._sh("exec stat -c '%f %s %Y %u %g' -- \"$1\"", path)
        return _info(path, told.decode())

    async def exists(self, path: str) -> bool:
        """Whether there is something of that name."""
        return (await self._sh('[ -e "$1" ] || [ -L "$1" ] && echo yes || echo no', path)).strip() == b"yes"

    async def mkdir(self, path: str) -> None:
        """Make a folder and those above it; one that is there is fine."""
        await self._sh('exec mkdir -p -- "$1"', path)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or with *recursive* a folder and all that is in it."""
        await self._sh('[ -e "$1" ] || [ -L "$1" ] || { echo "$1: No such file or directory" >&2; exit 1; }; '
                       + ('exec rm -rf -- "$1"' if recursive else 'exec rm -- "$1"'), path)  # fmt: skip

    async def rename(self, old: str, new: str) -> None:
        """Give it another name, in another folder if need be."""
        await self._sh('case $2 in */*) mkdir -p -- "${2%/*}" ;; esac && exec mv -f -- "$1" "$2"', old, new)

    async def copy(self, old: str, new: str) -> None:
        """Copy a file, or a folder and all that is in it."""
        await self._sh('case $2 in */*) mkdir -p -- "${2%/*}" ;; esac && exec cp -RP -- "$1" "$2"', old, new)

    async def _sh(self, code: str, *words: str, stdin: bytes = b"", keep: int = _READ_LIMIT) -> bytes:
        for word in words:
            if "\0" in word or not word:
                raise InvalidArgument(f"{word!r} is no path", sandbox=self._sandbox.name)
        try:
            done = await self._sandbox.commands.run(
                ["/bin/sh", "-c", code.strip(), "sandyard-files", *words], stdin=stdin, timeout=_TIMEOUT_SECONDS,
                env={"LC_ALL": "C"}, max_output=keep, check=True,
            )  # fmt: skip
        except CommandFailed as error:
            told = error.result.stderr_text.strip()
            for text, kind in _ERRORS.items():
                if text in told:
                    raise kind(told, sandbox=self._sandbox.name) from error
            raise
        return done.stdout


def _infos(told: bytes) -> list[FileInfo]:
    """Names end with a zero, what is said of each with a line feed: names may hold any other byte."""
    found = []
    while told:
        name, _, told = told.partition(b"\0")
        line, _, told = told.partition(b"\n")
        found.append(_info(name.decode(errors="surrogateescape"), line.decode()))
    return found


def _info(name: str, line: str) -> FileInfo:
    mode, size, modified, uid, gid = line.split()
    return FileInfo(name, int(mode, 16), int(size), int(modified), int(uid), int(gid))
