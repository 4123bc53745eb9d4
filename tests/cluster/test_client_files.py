"""Files of real sandboxes through the client: exact bytes, hostile names, and errors that say what is wrong."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from sandyard import AsyncSandbox
from sandyard.client import errors
from tests.support import manifests
from tests.support.kube import Kube

NAMES = ["a b", "-rf", "$HOME", "it's", '"x"', "new\nline", "*", ".hidden", "ünïcødé", "back\\slash"]


@pytest.fixture
async def sandbox(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncSandbox]:
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
    template = manifests.template(workspace={"sizeLimit": "256Mi"})
    async with await AsyncSandbox.create(template=template, namespace=kube.namespace) as made:
        yield made


async def test_bytes_come_back_as_they_went(sandbox: AsyncSandbox) -> None:
    for size in (0, 1, 65535, 65536, 65537, 40 * 10**6):
        data = os.urandom(min(size, 10**6)) * max(1, size // 10**6)
        await sandbox.files.write("deep/er/file", data)
        assert await sandbox.files.read("deep/er/file") == data, size
    await sandbox.files.write("text", "zwölf\n")
    await sandbox.files.append("text", b"\x00end")
    assert await sandbox.files.read("text") == "zwölf\n".encode() + b"\x00end"


async def test_names_are_taken_as_they_stand(sandbox: AsyncSandbox) -> None:
    await sandbox.files.mkdir("folder")
    for name in NAMES:
        await sandbox.files.write(f"folder/{name}", name)
        assert await sandbox.files.read_text(f"folder/{name}") == name
    found = await sandbox.files.list("folder")
    assert [info.name for info in found] == sorted(NAMES)
    assert all(info.is_file and info.size == len(info.name.encode()) and info.uid == 1000 for info in found)
    await sandbox.files.rename("folder", "else/where")
    await sandbox.files.copy("else/where", "copy")
    assert len(await sandbox.files.list("copy")) == len(NAMES)
    await sandbox.files.remove("copy", recursive=True)
    assert not await sandbox.files.exists("copy")


async def test_an_edit_is_exact_and_whole_or_not_at_all(sandbox: AsyncSandbox) -> None:
    text = "one $& two\ntwo \\1 three\r\nno end"
    await sandbox.files.write("f", text)
    assert await sandbox.files.edit("f", [("$& two", "\\0 'two'"), ("no end", "$`")]) == 2
    assert await sandbox.files.read_text("f") == "one \\0 'two'\ntwo \\1 three\r\n$`"
    for changes, told in {(("three", "3"), ("four", "4")): "not in the file", (("two", "2"),): "2 times"}.items():
        with pytest.raises(errors.InvalidArgument, match=told):
            await sandbox.files.edit("f", list(changes))
    assert "three" in await sandbox.files.read_text("f"), "nothing of it was done"
    assert await sandbox.files.edit("f", [("two", "2")], replace_all=True) == 2


async def test_a_written_file_keeps_its_mode_and_leaves_nothing_beside_it(sandbox: AsyncSandbox) -> None:
    await sandbox.files.write("run.sh", "#!/bin/sh\n")
    await sandbox.commands.run("chmod 751 run.sh", check=True)
    await sandbox.files.write("run.sh", "#!/bin/sh\necho hi\n")
    assert (await sandbox.files.stat("run.sh")).mode & 0o777 == 0o751
    assert [info.name for info in await sandbox.files.list()] == ["run.sh"]


async def test_errors_say_what_is_wrong_and_are_python_s_own_too(sandbox: AsyncSandbox) -> None:
    files = sandbox.files
    await files.mkdir("folder")
    with pytest.raises(FileNotFoundError) as caught:
        await files.read("nothing")
    assert isinstance(caught.value, errors.SandboxFileNotFound)
    assert caught.value.sandbox == sandbox.name
    with pytest.raises(IsADirectoryError):
        await files.read("folder")
    with pytest.raises(IsADirectoryError):
        await files.write("folder", b"")
    with pytest.raises(PermissionError):
        await files.read("/etc/shadow")
    with pytest.raises(PermissionError):
        await files.write("/etc/new", b"")
    with pytest.raises(FileNotFoundError):
        await files.remove("nothing")
    with pytest.raises(FileNotFoundError):
        await files.list("nothing")
    with pytest.raises(errors.InvalidArgument, match="is no path"):
        await files.read("a\0b")
    await files.write("long", b"x" * 101)
    with pytest.raises(errors.InvalidArgument, match="longer than max_bytes"):
        await files.read("long", max_bytes=100)
