from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hostd.images.initramfs import Entry, archive, entries, init_script
from hostd.images.recipe import DEFAULT, KERNEL_MODULES, base_key, image_key


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "guest"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__main__.py").write_text("print('up')\n")
    (folder / "work.py").write_text("work = 1\n")
    (folder / "__pycache__/work.pyc").write_bytes(b"junk")
    return folder


def test_a_changed_runtime_is_another_image_on_the_same_base(runtime: Path) -> None:
    before = image_key(DEFAULT, "init", runtime)
    (runtime / "work.py").write_text("work = 2\n")
    assert image_key(DEFAULT, "init", runtime) != before
    assert image_key(DEFAULT, "other init", runtime) != before


def test_caches_do_not_change_an_image(runtime: Path) -> None:
    before = image_key(DEFAULT, "init", runtime)
    (runtime / "__pycache__/more.pyc").write_bytes(b"junk")
    assert image_key(DEFAULT, "init", runtime) == before


def test_packages_make_the_base_and_their_order_does_not() -> None:
    assert base_key(replace(DEFAULT, packages=tuple(reversed(DEFAULT.packages)))) == base_key(DEFAULT)
    assert base_key(replace(DEFAULT, packages=(*DEFAULT.packages, "jq"))) != base_key(DEFAULT)


def test_the_kernel_can_unpack_the_archive(runtime: Path, tmp_path: Path) -> None:
    busybox, module = tmp_path / "busybox", tmp_path / "virtio.ko"
    busybox.write_bytes(b"b" * 5)
    module.write_bytes(b"m")
    (tmp_path / "out").mkdir()
    data = archive(entries("#!init\n", busybox, [module], runtime))
    subprocess.run(["cpio", "-idm", "--quiet"], input=data, cwd=tmp_path / "out", check=True)
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {
        "init",
        "bin/busybox",
        "mod/virtio.ko",
        "opt/swarm/guest/__main__.py",
        "opt/swarm/guest/work.py",
    }
    assert (tmp_path / "out/bin/busybox").read_bytes() == b"bbbbb"
    assert (tmp_path / "out/init").stat().st_mode & 0o777 == 0o755


def test_equal_inputs_give_equal_bytes() -> None:
    items = [Entry("a", 0o040755), Entry("a/b", 0o100644, b"x")]
    assert archive(items) == archive(items)


def test_the_init_script_loads_modules_in_order_and_starts_the_runtime() -> None:
    script = init_script(KERNEL_MODULES)
    assert f"for m in {' '.join(KERNEL_MODULES)};" in script
    assert script.rstrip().endswith("/usr/bin/python3 -u /opt/swarm/guest/__main__.py")
    assert "172.16.0.2/30" in script
