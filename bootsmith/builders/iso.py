"""From an ISO to what later steps need of it, without unpacking it.

    fetch_iso       URL                    → the ISO file, verified
    build_release   ISO                    → facts.json: names, flavors, where each byte lies
    build_flavor    ISO, facts, a flavor   → vmlinuz, initramfs, modloop, config

The ISO is read once for its checksum and then only where something is asked of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootsmith.errors import BuildError, SourceError
from bootsmith.files.atomic import (
    fsync_directory,
    replacing_file,
    write_file,
)
from bootsmith.files.download import discard_partial, download, fetch_small
from bootsmith.files.extents import copy_extents, mapped_extents, read_extents
from bootsmith.formats.bzimage import HEAD_BYTES, read_bzimage
from bootsmith.formats.modloop import modloop_kernel_release
from bootsmith.formats.release_facts import (
    FILE,
    FlavorFacts,
    IsoFile,
    ReleaseFacts,
    generation_of,
    read_release_facts,
    write_release_facts,
)
from bootsmith.formats.release_layout import (
    BZIMAGE_ARCHITECTURES,
    RELEASE_FILE,
    STANDIN_PROFILE,
    check_flavor,
    complete_flavors,
    find_architecture,
    find_flavors,
    read_release_name,
)

Progress = Callable[[str, int, int | None], None]

_BLOCK_BYTES = 1 << 20
_INITRAMFS_LIMIT_BYTES = 1 << 30
_INITRAMFS_MODULES = re.compile(r"(?:usr/)?lib/modules/([^/]+)/")


# -- fetching ----------------------------------------------------------------------------


def fetch_iso(
    *,
    url: str,
    sha256: str | None,
    sha512: str | None,
    checksum_url: str | None,
    signature_url: str | None,
    keyring: Path | None,
    output: Path,
    progress: Progress | None = None,
) -> None:
    """Download an ISO to `output`, carrying on where an earlier run stopped.

    It is hashed as it arrives and takes its name only when every given proof holds: the
    digests of the recipe, those of the file at `checksum_url` (`<hex>  <name>` lines, as
    Alpine publishes), the detached signature at `signature_url` by a key in `keyring`.
    Raises SourceError otherwise; a file of wrong content is removed, a part is kept. An
    `output` that is there and has the given digests is not fetched again.
    """
    expected = _expected_digests(url, sha256, sha512, checksum_url)
    if not expected and not signature_url:
        raise SourceError(
            url,
            "nothing to verify the download with",
            expected="sha256, sha512, checksum_url or signature_url",
            hint="add sha256 = “…” to the release's recipe; Alpine publishes it beside the ISO",
        )
    if signature_url and keyring is None:
        raise SourceError(
            signature_url,
            "a signature is checked against a keyring, and none is named",
            hint='add keyring = "path" to the release\'s recipe',
        )
    signature = fetch_small(signature_url) if signature_url else None
    if expected and _is_here(output, expected):
        if signature is not None and keyring is not None:
            _check_signature(output, signature, keyring, url)
        return
    partial = output.with_name(f"{output.name}.partial")
    carried_on = partial.is_file() and partial.stat().st_size > 0
    try:
        _download_verified(url, partial, expected, progress)
    except SourceError:
        # What an earlier run left may have been damaged on disk since. Once, from the start.
        if not carried_on or partial.exists():
            raise
        _download_verified(url, partial, expected, progress)
    if signature is not None and keyring is not None:
        try:
            _check_signature(partial, signature, keyring, url)
        except SourceError:
            discard_partial(partial)
            raise
    os.replace(partial, output)
    fsync_directory(output.parent)
    discard_partial(partial)


def _is_here(output: Path, expected: dict[str, str]) -> bool:
    """Whether an earlier run, or a person, put exactly this file there."""
    if not output.is_file():
        return False
    with open(output, "rb") as source:
        for algorithm, digest in expected.items():
            source.seek(0)
            if hashlib.file_digest(source, algorithm).hexdigest() != digest:
                return False
    return True


def _download_verified(
    url: str, partial: Path, expected: dict[str, str], progress: Progress | None
) -> None:
    algorithms = expected or ("sha256",)
    found = download(url=url, partial=partial, algorithms=algorithms, progress=progress)
    for algorithm, digest in expected.items():
        if found[algorithm] != digest:
            discard_partial(partial)
            raise _digest_differs(url, algorithm, digest, found[algorithm])


def _check_signature(data: Path, signature: bytes, keyring: Path, url: str) -> None:
    from bootsmith.tools.gpgv import check_signature

    check_signature(data=data, signature=signature, keyring=keyring, subject=url)


def _expected_digests(
    url: str, sha256: str | None, sha512: str | None, checksum_url: str | None
) -> dict[str, str]:
    expected = {
        name: digest.lower()
        for name, digest in (("sha256", sha256), ("sha512", sha512))
        if digest is not None
    }
    if checksum_url is not None:
        name = url.rpartition("/")[2]
        algorithm, published = _published_digest(fetch_small(checksum_url), name, checksum_url)
        if expected.setdefault(algorithm, published) != published:
            raise SourceError(
                checksum_url,
                f"publishes another {algorithm} for {name} than the recipe has",
                expected=expected[algorithm],
                got=published,
                hint="find out which is right before you use this ISO",
            )
    return expected


def _published_digest(content: bytes, name: str, checksum_url: str) -> tuple[str, str]:
    """(algorithm, hex digest) for `name` in the text that sha256sum or sha512sum wrote."""
    for line in content.decode("utf-8", "replace").splitlines():
        found = re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?:\s+\*?(?:.*/)?(.+))?", line)
        if found and found[2] in (None, name):
            return ("sha256" if len(found[1]) == 64 else "sha512"), found[1].lower()
    raise SourceError(
        checksum_url,
        f"has no checksum for {name}",
        expected="a line <sha256 or sha512>  <name>",
        hint="correct checksum_url in the release's recipe",
    )


def _digest_differs(subject: object, algorithm: str, expected: str, got: str) -> SourceError:
    return SourceError(
        subject,
        f"{algorithm} differs from the recipe's",
        expected=expected,
        got=got,
        hint="download it again, or correct the recipe if the publisher says otherwise",
    )


# -- reading -----------------------------------------------------------------------------


def build_release(
    *,
    iso: Path,
    sha256: str | None,
    sha512: str | None,
    facts: Path,
    progress: Progress | None = None,
) -> None:
    """Verify the ISO, find everything in it, write what was found to `facts`.

    Raises SourceError (absent, wrong checksum, no flavor) or FormatError (not an ISO, cut
    short, damaged, hostile names); `facts` is untouched then.
    """
    from bootsmith.files.iso9660 import check_volume, read_iso_tree

    with _opened(iso) as source:
        check_volume(source, subject=iso)  # first: "cut short" says more than "sha256 differs"
        digest = _verified_sha256(source, iso, sha256, sha512, progress)
        tree = read_iso_tree(source, subject=iso)
        found = _release_facts(source, iso, tree.volume_id, tree.files, digest)
    write_file(facts, write_release_facts(found))


@contextmanager
def _opened(iso: Path) -> Iterator[io.FileIO]:
    try:
        source = io.FileIO(iso)
    except OSError as error:
        raise SourceError(
            iso,
            f"ISO cannot be read ({error.strerror})",
            hint="correct iso in the release's recipe, or put the file there",
        ) from None
    with source:
        yield source


def _verified_sha256(
    source: io.FileIO,
    iso: Path,
    sha256: str | None,
    sha512: str | None,
    progress: Progress | None,
) -> str:
    """The ISO's sha256, after both digests were compared; the file is read once for both."""
    digests = {"sha256": hashlib.sha256()}
    if sha512 is not None:
        digests["sha512"] = hashlib.sha512()
    size_bytes = os.fstat(source.fileno()).st_size
    os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    block = bytearray(_BLOCK_BYTES)
    view = memoryview(block)
    done = 0
    source.seek(0)
    while count := source.readinto(block):
        for digest in digests.values():
            digest.update(view[:count])
        done += count
        if progress:
            progress(f"verifying {iso.name}", done, size_bytes)
    for algorithm, expected in (("sha256", sha256), ("sha512", sha512)):
        if expected is not None and digests[algorithm].hexdigest() != expected.lower():
            raise _digest_differs(iso, algorithm, expected, digests[algorithm].hexdigest())
    return digests["sha256"].hexdigest()


def _release_facts(
    source: io.FileIO, iso: Path, volume_id: str, files: Sequence[IsoFile], digest: str
) -> ReleaseFacts:
    marker = next((entry for entry in files if entry.path == RELEASE_FILE), None)
    if marker is None or marker.type != FILE:
        raise SourceError(
            iso,
            f"ISO without {RELEASE_FILE}, so not one of Alpine's",
            hint="use an ISO of an Alpine release",
        )
    text = read_extents(source.fileno(), marker.extents, size_bytes=4096)
    name = read_release_name(text, subject=iso)
    found = find_flavors(files, subject=iso)
    complete = complete_flavors(found, subject=iso)
    arch = find_architecture(files, subject=iso)
    flavors = {}
    for flavor in complete:
        boot = found[flavor]
        assert boot.kernel is not None
        assert boot.initramfs is not None
        assert boot.modloop is not None
        flavors[flavor] = FlavorFacts(
            kernel_release=_kernel_release(source, iso, boot.kernel, arch),
            kernel=boot.kernel,
            initramfs=boot.initramfs,
            modloop=boot.modloop,
            config=boot.config,
        )
    return ReleaseFacts(
        release=name.release,
        profile=name.profile,
        arch=arch,
        generation=generation_of(name.release),
        is_standin=name.profile == STANDIN_PROFILE,
        volume_id=volume_id,
        iso_size_bytes=os.fstat(source.fileno()).st_size,
        iso_sha256=digest,
        flavors=flavors,
        files=tuple(files),
    )


def _kernel_release(source: io.FileIO, iso: Path, kernel: IsoFile, arch: str) -> str | None:
    if arch not in BZIMAGE_ARCHITECTURES:
        return None
    head = read_extents(source.fileno(), kernel.extents, size_bytes=HEAD_BYTES)
    subject = f"{iso}: {kernel.path}"
    image = read_bzimage(head, file_size_bytes=kernel.size_bytes, subject=subject)
    return image.kernel_release


# -- taking out --------------------------------------------------------------------------


def build_flavor(
    *,
    iso: Path,
    facts: Path,
    flavor: str,
    kernel: Path,
    initramfs: Path,
    modloop: Path,
    config: Path,
    progress: Progress | None = None,
) -> None:
    """Copy the boot files of one flavor out of the ISO, byte for byte, mode 0644.

    Before anything is written, kernel, initramfs and modloop must agree on one kernel
    release: BuildError if they do not. `config` is written empty if the ISO has none.
    """
    known = _read_facts(facts)
    boot = known.flavors.get(flavor)
    if boot is None:
        check_flavor(find_flavors(known.files, subject=iso), flavor, subject=iso)
        raise SourceError(facts, f"has no flavor {flavor!r}", hint="read the ISO again")
    with _opened_as_known(iso, known, facts) as source:
        _check_one_kernel_release(source, iso, boot)
        with ExitStack() as outputs:  # all four are renamed after all four were written
            for target, entry in (
                (kernel, boot.kernel),
                (initramfs, boot.initramfs),
                (modloop, boot.modloop),
                (config, boot.config),
            ):
                partial = outputs.enter_context(replacing_file(target))
                if entry is not None:
                    if progress:
                        progress(f"copying {entry.path}", 0, entry.size_bytes)
                    with open(partial, "wb", buffering=0) as out:
                        copy_extents(source.fileno(), entry.extents, out.fileno())


def _read_facts(facts: Path) -> ReleaseFacts:
    try:
        content = facts.read_bytes()
    except OSError as error:
        raise SourceError(
            facts, f"facts cannot be read ({error.strerror})", hint="run: doit build"
        ) from None
    return read_release_facts(content, subject=str(facts))


@contextmanager
def _opened_as_known(iso: Path, known: ReleaseFacts, facts: Path) -> Iterator[io.FileIO]:
    """The ISO, open; SourceError if it cannot be the file that the facts are about."""
    with _opened(iso) as source:
        size_bytes = os.fstat(source.fileno()).st_size
        if size_bytes != known.iso_size_bytes:
            raise SourceError(
                iso,
                f"is another file than {facts} was read from",
                expected=f"{known.iso_size_bytes} bytes",
                got=f"{size_bytes} bytes",
                hint="run again: doit build",
            )
        yield source


def _check_one_kernel_release(source: io.FileIO, iso: Path, boot: FlavorFacts) -> None:
    in_modloop = _modloop_release(iso, boot.modloop)
    in_initramfs = _initramfs_releases(source, iso, boot.initramfs)
    of_kernel = boot.kernel_release or in_modloop
    hint = "kernel, initramfs and modloop must come from one release; use an ISO as published"
    if in_modloop != of_kernel:
        raise BuildError(
            f"{iso}: {boot.modloop.path}",
            f"modules are for another kernel than {boot.kernel.path}",
            expected=f"modules/{of_kernel}",
            got=f"modules/{in_modloop}",
            hint=hint,
        )
    if in_initramfs != {of_kernel}:
        raise BuildError(
            f"{iso}: {boot.initramfs.path}",
            f"modules are for another kernel than {boot.kernel.path}",
            expected=f"lib/modules/{of_kernel}",
            got=" and ".join(f"lib/modules/{name}" for name in sorted(in_initramfs)) or "none",
            hint=hint,
        )


def _modloop_release(iso: Path, modloop: IsoFile) -> str:
    from bootsmith.formats.squashfs import Squashfs

    with mapped_extents(iso, modloop.extents) as (buffer, offset):
        image = Squashfs(buffer, offset_bytes=offset, subject=f"{iso}: {modloop.path}")
        return modloop_kernel_release(image)


def _initramfs_releases(source: io.FileIO, iso: Path, initramfs: IsoFile) -> set[str]:
    from bootsmith.formats.compression import decompress_initramfs
    from bootsmith.formats.cpio import read_cpio

    subject = f"{iso}: {initramfs.path}"
    packed = read_extents(source.fileno(), initramfs.extents)
    content = decompress_initramfs(packed, limit_bytes=_INITRAMFS_LIMIT_BYTES, subject=subject)
    names = (_INITRAMFS_MODULES.match(entry.name) for entry in read_cpio(content, subject=subject))
    return {found[1] for found in names if found}
