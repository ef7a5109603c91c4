"""The expensive part of an image, built once per package list: kernel, modules, busybox, root file system."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hostd.errors import TemplateError
from hostd.images.command import run
from hostd.images.recipe import KERNEL_MODULES, Recipe, base_key
from hostd.ports import Progress, ProgressSink

# Kernel and busybox come from the same package source as the root file system, without being installed into it.
_DOWNLOAD = r"""set -e
kernel=$(chroot "$1" apt-cache depends linux-image-cloud-amd64)
kernel=$(echo "$kernel" | sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)/\1/p' | head -n 1)
test -n "$kernel"
mkdir "$1/swarm-debs"
chmod 777 "$1/swarm-debs"
chroot "$1" sh -c "cd /swarm-debs && apt-get -qq download $kernel busybox-static"
"""
# Nothing of this machine stays in the guest: name servers, host name, package mirrors, proxies.
_FORGET = r"""set -e
rm -rf "$1/swarm-debs" "$1/etc/resolv.conf" "$1/etc/hostname" "$1"/etc/apt/sources.list*
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old
printf '127.0.0.1 localhost\n' > "$1/etc/hosts"
: > "$1/etc/machine-id"
mkdir -p "$1/opt/swarm" "$1/work"
"""
_SOURCES = Path("/etc/apt")
# mmdebstrap, itself Perl, mounts what a chroot needs; in a mount namespace of its own (system call 272 is unshare)
# nothing of that outlives it, however it ends.
_ALONE = (
    'syscall(272, 0x20000) == 0 or die "unshare: $!\\n";'
    'system(qw(mount --make-rprivate /)) == 0 or die "no private mounts\\n";'
    'exec @ARGV or die "@ARGV: $!\\n"'
)


@dataclass(frozen=True, slots=True)
class Base:
    """Files of a built base. `modules` in loading order."""

    kernel: Path
    root: Path
    busybox: Path
    modules: tuple[Path, ...]


async def build_base(recipe: Recipe, folder: Path, progress: ProgressSink) -> Base:
    """The base of `recipe` under `folder`, built if it is not there. Interrupted: nothing but the old is left."""
    target = folder / base_key(recipe)[:16]
    if not _exists(target):
        scratch = make_scratch(folder)
        try:
            await _build(recipe, scratch, progress)
            publish(scratch / "out", target)
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    modules = tuple(
        target / "mod" / f"{name}.ko" for name in KERNEL_MODULES if (target / "mod" / f"{name}.ko").exists()
    )
    return Base(target / "kernel", target / "root", target / "busybox", modules)


def make_scratch(folder: Path) -> Path:
    """A new folder inside `folder`; see `publish`."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    (scratch / "out").mkdir(mode=0o755)
    return scratch


def publish(built: Path, target: Path) -> None:
    """Move a finished folder to its name. Another process may have been first: equal names mean equal content."""
    try:
        built.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _exists(path: Path) -> bool:
    return path.is_dir()


async def _build(recipe: Recipe, scratch: Path, progress: ProgressSink) -> None:
    out = scratch / "out"
    progress(Progress(0.02, "installing Debian packages into the root file system"))
    await run(_mmdebstrap(recipe, scratch), cwd=scratch, env={"TMPDIR": str(scratch)})
    progress(Progress(0.55, "extracting the kernel"))
    await _extract(scratch / "swarm-debs", scratch / "debs", out)
    progress(Progress(0.6, "compressing the root file system"))
    await run(
        [
            "mksquashfs",
            "-",
            str(out / "root"),
            "-tar",
            *["-comp", "zstd", "-Xcompression-level", "6", "-quiet", "-no-progress"],
        ],
        cwd=scratch,
        stdin=scratch / "root.tar",
    )


def _mmdebstrap(recipe: Recipe, scratch: Path) -> list[str]:
    exclude = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
    hooks = [_DOWNLOAD.strip(), f"copy-out /swarm-debs {scratch}", _FORGET.strip()]
    return [
        *["perl", "-e", _ALONE],
        *["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar"],
        *exclude,
        f"--include={','.join(recipe.packages)}",
        *(f"--customize-hook={hook}" for hook in hooks),
        recipe.suite,
        str(scratch / "root.tar"),
        *map(str, _package_sources(recipe.suite)),
    ]


def _package_sources(suite: str) -> list[Path]:
    """Where this machine gets Debian's `suite` from; empty: mmdebstrap's default."""
    names = [_SOURCES / "sources.list", *sorted((_SOURCES / "sources.list.d").glob("*.sources"))]
    wanted = re.compile(rf"^[^#\n]*(?<!\S){re.escape(suite)}(?!\S)", re.MULTILINE)
    return [path for path in names if path.is_file() and wanted.search(path.read_text(errors="replace"))]


async def _extract(debs: Path, into: Path, out: Path) -> None:
    for deb in await asyncio.to_thread(lambda: sorted(debs.glob("*.deb"))):
        await run(["dpkg-deb", "-x", str(deb), str(into)], cwd=debs)
    await asyncio.to_thread(_pick, into, out)


def _pick(tree: Path, out: Path) -> None:
    kernels = list(tree.glob("boot/vmlinuz-*"))
    busybox = next((path for path in (tree / "bin/busybox", tree / "usr/bin/busybox") if path.is_file()), None)
    if len(kernels) != 1 or busybox is None:
        raise TemplateError("the downloaded packages hold no kernel or no busybox")
    shutil.copy(kernels[0], out / "kernel")
    shutil.copy(busybox, out / "busybox")
    (out / "mod").mkdir()
    found = {path.stem: path for path in tree.rglob("*.ko")}
    for name in KERNEL_MODULES:
        if name in found:
            shutil.copy(found[name], out / "mod")
