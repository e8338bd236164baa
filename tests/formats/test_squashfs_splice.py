"""Images changed by us: read by unsquashfs, and every byte that could stay stayed."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootsmith.errors import FormatError
from bootsmith.formats import squashfs_layout as layout
from bootsmith.formats.squashfs import Squashfs
from bootsmith.formats.squashfs_splice import (
    KeptRange,
    NewFile,
    NewLink,
    splice_squashfs,
)

COMPRESSIONS = {
    "xz with branch filters": ["-comp", "xz", "-Xbcj", "x86,arm"],
    "gzip": ["-comp", "gzip", "-Xcompression-level", "6"],
    "zstd": ["-comp", "zstd"],
    "lz4": ["-comp", "lz4", "-Xhc"],
    "xz in blocks of 1 MiB": ["-comp", "xz", "-b", "1M"],
    "gzip in blocks of 4 KiB": ["-comp", "gzip", "-b", "4K", "-no-exports"],
    "nothing compressed": ["-noI", "-noD", "-noF", "-noId"],
    "no fragments": ["-comp", "zstd", "-no-fragments"],
    "tails in fragments": ["-comp", "zstd", "-always-use-fragments"],
    "a small dictionary": ["-comp", "xz", "-Xdict-size", "8K", "-no-duplicates"],
}
PROGRAM = b"\x7fELF" + b"\xe8\x10\x00\x00\x00\x90\x8b\x45" * 3000
KERNEL = "modules/6.6.32-0-lts"


def make_image(tree: Path, image: Path, options: list[str]) -> bytes:
    subprocess.run(
        ["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-no-xattrs", *options],
        check=True, capture_output=True,
    )  # fmt: skip
    return image.read_bytes()


def spliced(image: bytes, edits) -> bytes:
    plan = splice_squashfs(Squashfs(image, subject="stock"), edits)
    return b"".join(
        image[part.offset_bytes : part.offset_bytes + part.size_bytes]
        if isinstance(part, KeptRange)
        else part
        for part in plan.parts
    )


def kept_bytes(image: bytes, edits) -> int:
    return splice_squashfs(Squashfs(image), edits).kept_bytes


def described(path: Path) -> tuple:
    status = path.lstat()
    if path.is_symlink():
        return "link", os.readlink(path)
    if path.is_dir():
        return "dir", status.st_mode & 0o7777
    return "file", status.st_mode & 0o7777, path.read_bytes()


def contents(root: Path) -> dict[str, tuple]:
    return {
        os.path.relpath(os.path.join(parent, name), root): described(Path(parent, name))
        for parent, directories, files in os.walk(root)
        for name in (*directories, *files)
    }


def unsquashed(image: bytes, scratch: Path) -> dict[str, tuple]:
    """What unsquashfs gets out of `image`; it complains of nothing."""
    scratch.mkdir(exist_ok=True)
    (scratch / "image").write_bytes(image)
    subprocess.run(["rm", "-rf", scratch / "tree"], check=True)
    done = subprocess.run(
        ["unsquashfs", "-no-progress", "-quiet", "-d", scratch / "tree", scratch / "image"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert not done.stderr
    return contents(scratch / "tree")


def read_by_us(image: bytes) -> dict[str, tuple]:
    squashfs = Squashfs(image)
    found = {}
    for entry in squashfs.walk():
        if entry.type == "file":
            found[entry.path] = "file", entry.mode, squashfs.read_entry(entry)
        else:
            found[entry.path] = entry.type, entry.target or entry.mode
    return found


def listing(image: bytes, scratch: Path) -> list[list[str]]:
    (scratch / "listed").write_bytes(image)
    done = subprocess.run(
        ["unsquashfs", "-lln", "-d", "", scratch / "listed"], check=True, capture_output=True
    )
    return [os.fsdecode(line).split(maxsplit=5) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    noise = random.Random(1)
    for number in range(120):
        path = root / KERNEL / f"kernel/drivers/{number % 7}/{number % 3}/module-{number:03}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(noise.choice([0, 1, 40, 900])) * 3)
    kernel = root / KERNEL / "kernel"
    for size in (4096, 4097, 131071, 131072, 131073, 700_000):
        (kernel / f"size-{size}").write_bytes((noise.randbytes(size // 7 + 1) * 8)[:size])
    (kernel / "twin").write_bytes((kernel / "size-700000").read_bytes())
    with open(kernel / "holes", "wb") as holes:
        holes.truncate(1 << 20)
        holes.seek(1 << 19)
        holes.write(b"island")
    (root / "modules/firmware/empty").mkdir(parents=True)
    os.symlink("../" * 9 + "x" * 200, root / "modules/firmware/far")
    (kernel / "program").write_bytes(b"#!")
    (kernel / "program").chmod(0o4751)
    os.link(kernel / "program", kernel / "second name")
    (root / os.fsdecode(b"n\xe4me")).write_bytes(b"latin")
    return root


@pytest.fixture(scope="module", params=COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def image(request, tree, tmp_path_factory):
    return make_image(tree, tmp_path_factory.mktemp("image") / "x", request.param)


@pytest.fixture(scope="module")
def packed(tree, tmp_path_factory):
    return make_image(tree, tmp_path_factory.mktemp("packed") / "x", ["-comp", "zstd"])


BIG = random.Random(7).randbytes(300) * 1500
EDITS = {
    f"{KERNEL}/kernel/size-4097": None,
    f"{KERNEL}/kernel/drivers/3": None,
    f"{KERNEL}/kernel/drivers/4/1": None,
    f"{KERNEL}/kernel/drivers/4/1/module-new.ko": NewFile(content=b"new in an old place"),
    f"{KERNEL}/kernel/size-131073": NewFile(content=b"another content", mode=0o600),
    f"{KERNEL}/extra/big.ko": NewFile(content=BIG),
    f"{KERNEL}/extra/same.ko": NewFile(content=BIG),
    f"{KERNEL}/extra/program.ko": NewFile(content=PROGRAM),
    f"{KERNEL}/extra/zeros": NewFile(content=bytes(300_000)),
    f"{KERNEL}/extra/noise": NewFile(content=random.Random(3).randbytes(200_000)),
    f"{KERNEL}/extra/empty": NewFile(content=b""),
    "modules/firmware/far": NewLink(target="../near"),
    os.fsdecode(b"ne\xfc"): NewFile(content=b"x"),
}


def edited(found: dict[str, tuple], edits=EDITS) -> dict[str, tuple]:
    """The model: what `edits` mean for a tree that was `found`."""
    found = dict(found)
    for path in [path for path, edit in edits.items() if edit is None]:
        for name in list(found):
            if name == path or name.startswith(f"{path}/"):
                del found[name]
    for path, edit in edits.items():
        if edit is None:
            continue
        parents = path.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            found.setdefault("/".join(parents[:depth]), ("dir", 0o755))
        if isinstance(edit, NewFile):
            found[path] = "file", edit.mode, edit.content
        else:
            found[path] = "link", edit.target
    return found


def test_unsquashfs_reads_what_was_changed_and_what_was_not(tree, image, tmp_path):
    changed = spliced(image, EDITS)
    expected = edited(contents(tree))
    assert unsquashed(changed, tmp_path) == expected
    assert read_by_us(changed) == expected


def test_nothing_changed_gives_the_same_tree_and_keeps_every_block(tree, image, tmp_path):
    changed = spliced(image, {})
    assert unsquashed(changed, tmp_path) == contents(tree)
    start, end = 96, Squashfs(image).superblock.inode_table
    options = (image[start] | image[start + 1] << 8) & 0x7FFF
    if Squashfs(image).superblock.flags & layout.COMPRESSOR_OPTIONS:
        start += 2 + options
    assert kept_bytes(image, {}) == end - start
    assert changed[96:end] == image[96:end]


def test_a_change_of_one_file_keeps_all_other_blocks(packed):
    before = kept_bytes(packed, {})
    added = {f"{KERNEL}/extra/new.ko": NewFile(content=BIG)}
    assert kept_bytes(packed, added) == before
    squashfs = Squashfs(packed)
    words = squashfs.entry(f"{KERNEL}/kernel/size-131073").block_lengths
    removed = {f"{KERNEL}/kernel/size-131073": None}
    assert kept_bytes(packed, removed) == before - sum(word & 0xFFFFFF for word in words)


def test_what_is_kept_is_told_before_the_rest_is_packed(packed):
    told = []
    plan = splice_squashfs(
        Squashfs(packed),
        {"dir/new": NewFile(content=os.urandom(9000))},
        keeping=lambda position, ranges: told.extend([position, *ranges]),
    )
    position, *ranges = told
    assert sum(one.size_bytes for one in ranges) > 0.9 * plan.kept_bytes
    head, *rest = plan.parts
    assert len(head) == position
    assert rest[: len(ranges)] == ranges


def test_blocks_that_two_files_share_go_with_the_second(packed):
    before = kept_bytes(packed, {})
    one, other = f"{KERNEL}/kernel/twin", f"{KERNEL}/kernel/size-700000"
    assert Squashfs(packed).entry(one).first_block == Squashfs(packed).entry(other).first_block
    assert kept_bytes(packed, {one: None}) == before
    assert kept_bytes(packed, {one: None, other: None}) < before
    assert Squashfs(spliced(packed, {one: None})).read(other) == Squashfs(packed).read(one)


def test_a_fragment_block_stays_while_one_file_has_its_tail_there(packed):
    squashfs = Squashfs(packed)
    tails: dict[int, list[str]] = {}
    for entry in squashfs.walk():
        if entry.fragment is not None:
            tails.setdefault(entry.fragment, []).append(entry.path)
    assert len(tails) > 1
    users = min(tails.values(), key=len)
    count = squashfs.superblock.fragment_count
    all_but_one = Squashfs(spliced(packed, dict.fromkeys(users[1:])))
    assert all_but_one.superblock.fragment_count == count
    assert all_but_one.read(users[0]) == squashfs.read(users[0])
    none = Squashfs(spliced(packed, dict.fromkeys(users)))
    assert none.superblock.fragment_count == count - 1
    for path in (path for paths in tails.values() for path in paths if path not in users):
        assert none.read(path) == squashfs.read(path)


def test_new_content_is_compressed_as_the_rest_of_the_image(image):
    stored = Squashfs(image).superblock.flags & layout.STORED_DATA
    changed = Squashfs(spliced(image, {"program": NewFile(content=PROGRAM * 8)}))
    assert changed.superblock.compression == Squashfs(image).superblock.compression
    assert changed.superblock.block_size_bytes == Squashfs(image).superblock.block_size_bytes
    entry = changed.entry("program")
    for word in entry.block_lengths:
        assert bool(word & layout.BLOCK_STORED) == bool(stored)


def test_equal_new_contents_are_stored_once_and_zeros_not_at_all(packed):
    changed = Squashfs(spliced(packed, EDITS))
    one, other = changed.entry(f"{KERNEL}/extra/big.ko"), changed.entry(f"{KERNEL}/extra/same.ko")
    assert (one.first_block, one.block_lengths) == (other.first_block, other.block_lengths)
    zeros = changed.entry(f"{KERNEL}/extra/zeros")
    assert (zeros.block_lengths, zeros.sparse_bytes) == ((0, 0, 0), 300_000)


def test_blocks_that_a_new_version_shares_with_the_old_one_are_not_packed_again(image, tmp_path):
    path = f"{KERNEL}/kernel/size-700000"
    squashfs = Squashfs(image)
    old = squashfs.read(path)
    whole_blocks = len(squashfs.entry(path).block_lengths) - 2
    new = old[:-1] + b"!" + old[:100]
    changed = Squashfs(spliced(image, {path: NewFile(content=new)}))
    assert changed.read(path) == new
    before, after = squashfs.entry(path).block_lengths, changed.entry(path).block_lengths
    assert before[: max(0, whole_blocks)] == after[: max(0, whole_blocks)]
    twin = f"{KERNEL}/kernel/twin"  # has the old content, in the same place or its own
    without = kept_bytes(image, {path: None, twin: None})
    kept = kept_bytes(image, {path: NewFile(content=new), twin: None})
    assert kept - without >= sum(word & 0xFFFFFF for word in before[: max(0, whole_blocks)])
    assert changed.read(twin) == old


def test_a_damaged_file_can_be_replaced(packed):
    path = f"{KERNEL}/kernel/size-700000"
    entry = Squashfs(packed).entry(path)
    broken = bytearray(packed)
    broken[entry.first_block + 5 : entry.first_block + 60] = bytes(55)
    with pytest.raises(FormatError):
        Squashfs(bytes(broken)).read(path)
    content = Squashfs(packed).read(path)
    changed = Squashfs(spliced(bytes(broken), {path: NewFile(content=content)}))
    assert changed.read(path) == content


def test_the_same_edits_give_the_same_bytes_in_any_order(packed):
    backwards = dict(reversed(EDITS.items()))
    assert spliced(packed, EDITS) == spliced(packed, backwards)


def test_all_is_owned_by_root_and_of_time_zero(tree, tmp_path):
    theirs = make_image(tree, tmp_path / "x", ["-comp", "gzip", "-force-uid", "7"])
    assert {line[1] for line in listing(theirs, tmp_path)} == {f"7/{tree.stat().st_gid}"}
    lines = listing(spliced(theirs, EDITS), tmp_path)
    assert {line[1] for line in lines} == {"0/0"}
    assert {line[3] for line in lines} == {"1970-01-01"}


def test_hard_links_stay_links_and_part_when_one_is_replaced(tree, packed, tmp_path):
    one, other = f"{KERNEL}/kernel/program", f"{KERNEL}/kernel/second name"
    unsquashed(spliced(packed, {"new": NewFile(content=b"x")}), tmp_path)
    assert (tmp_path / "tree" / one).stat().st_nlink == 2
    assert (tmp_path / "tree" / one).samefile(tmp_path / "tree" / other)
    found = unsquashed(spliced(packed, {one: NewFile(content=b"replaced")}), tmp_path)
    assert found[one] == ("file", 0o644, b"replaced")
    assert found[other] == ("file", 0o4751, b"#!")
    assert (tmp_path / "tree" / other).stat().st_nlink == 1


def test_an_image_loses_its_extended_attributes_table(packed):
    with_table = bytearray(packed)
    struct.pack_into("<Q", with_table, 56, Squashfs(packed).superblock.size_bytes - 8)
    assert Squashfs(bytes(with_table)).superblock.has_xattrs
    changed = Squashfs(spliced(bytes(with_table), {}))
    assert not changed.superblock.has_xattrs
    assert changed.superblock.flags & layout.WITHOUT_XATTRS


# -- large directories -------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """2,000 long names in one directory, and a path 40 directories deep."""
    root = tmp_path_factory.mktemp("crowded")
    (root / "crowd").mkdir()
    for number in range(2000):
        (root / f"crowd/{number:04}-{'long-' * 8}name").write_bytes(b"%d" % number)
    (root / "several").mkdir()
    for number in range(400):
        (root / f"several/{number:04}-{'long-' * 8}name").write_bytes(b"")
    deep = root / "/".join("abcdefghij" * 4)
    deep.mkdir(parents=True)
    (deep / "end").write_bytes(b"deep")
    return make_image(root, root.parent / "crowded.img", ["-comp", "gzip"]), contents(root)


def directory_indexes(image: bytes, path: str) -> list[tuple[int, int, bytes]]:
    """(byte in the listing, metadata block, first name) of a directory's index."""
    squashfs = Squashfs(image)
    reference, _ = squashfs._lookup(path)
    kind, *_ = layout.INODE.unpack(squashfs._inode(reference, layout.INODE.size))
    assert kind == layout.LONG_DIRECTORY_TYPE
    body = reference + layout.INODE.size
    size = layout.LONG_DIRECTORY.size
    count = layout.LONG_DIRECTORY.unpack(squashfs._inode(body, size))[4]
    body += size
    found = []
    for _ in range(count):
        at, start, length = layout.DIRECTORY_INDEX.unpack(squashfs._inode(body, 12))
        found.append((at, start, squashfs._inode(body + 12, length + 1)))
        body += 12 + length + 1
    return found


def test_a_directory_of_many_long_names(crowded, tmp_path):
    stock, expected = crowded
    edits = {f"crowd/{number:04}-{'long-' * 8}name": None for number in range(0, 2000, 3)} | {
        f"crowd/{number:04}-added": NewFile(content=b"added") for number in range(1, 2000, 7)
    }
    changed = spliced(stock, edits)
    assert unsquashed(changed, tmp_path) == edited(expected, edits)
    assert read_by_us(changed) == edited(expected, edits)


@pytest.mark.parametrize("directory,least", [("crowd", 5), ("several", 1)])
def test_the_index_of_a_large_directory_points_at_headers(crowded, directory, least):
    """A kernel looks a name up from the last index that is not behind it."""
    stock, _ = crowded
    changed = spliced(stock, {f"{directory}/new": NewFile(content=b"x")})
    squashfs = Squashfs(changed)
    indexes = directory_indexes(changed, directory)
    assert len(indexes) >= least
    body = squashfs._lookup(directory)[0] + layout.INODE.size
    _, _, first, _, _, offset, _ = layout.LONG_DIRECTORY.unpack(
        squashfs._inode(body, layout.LONG_DIRECTORY.size)
    )
    names = [os.fsencode(name) for name in squashfs.names(directory)]
    table = squashfs.superblock.directory_table
    for at, start, name in indexes:
        place = (offset + at) % layout.METADATA_BYTES
        header = squashfs._metadata_bytes(table + start, place, layout.DIRECTORY_HEADER.size)
        count, _, _ = layout.DIRECTORY_HEADER.unpack(header)
        entry = squashfs._metadata_bytes(table + start, place + 12, 8 + len(name))
        assert entry[8:] == name
        assert count < layout.MOST_ENTRIES_OF_A_HEADER
        assert name in names
        # The same bytes are found when the listing is read from its start.
        through = squashfs._metadata_bytes(table + first, offset + at, 20 + len(name))
        assert through == header + entry
    assert [name for *_, name in indexes] == sorted(name for *_, name in indexes)


def test_more_inodes_than_a_directory_entry_can_count(tmp_path):
    """An entry says in 16 bits how far its inode's number is from its header's."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/a").write_bytes(b"first")
    (tmp_path / "t/z").write_bytes(b"last")
    stock = make_image(tmp_path / "t", tmp_path / "x", ["-comp", "gzip"])
    edits = {f"m/{number:05}": NewLink(target="x") for number in range(40_000)}
    edits["m/directory/end"] = NewFile(content=b"end")
    changed = spliced(stock, edits)
    assert len(listing(changed, tmp_path)) == 40_000 + len(("", "a", "z", "m", "directory", "end"))
    squashfs = Squashfs(changed)
    assert squashfs.read("m/directory/end") == b"end"
    assert squashfs.read("z") == b"last"


# -- the kernel --------------------------------------------------------------------------


def read_by_kernel(image: Path) -> bytes | None:
    """A tar of the image, mounted where nobody else sees it; None where that cannot be done."""
    script = 'mount -t squashfs -o loop,ro "$1" /mnt && exec tar -C /mnt -cf - .'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", image], capture_output=True)
    return done.stdout if done.returncode == 0 else None


def mounted(image: bytes, scratch: Path) -> dict[str, tuple]:
    """What the kernel shows of `image`."""
    (scratch / "image").write_bytes(image)
    archive = read_by_kernel(scratch / "image")
    if archive is None:
        pytest.skip("mounting a squashfs takes root, a loop device and a kernel that knows it")
    (scratch / "out").mkdir()
    subprocess.run(["tar", "-C", scratch / "out", "-xpf", "-"], input=archive, check=True)
    return contents(scratch / "out")


def test_the_kernel_reads_what_was_changed(image, tree, tmp_path):
    assert mounted(spliced(image, EDITS), tmp_path) == edited(contents(tree))


def test_the_kernel_finds_every_name_in_a_large_directory(crowded, tmp_path):
    stock, expected = crowded
    edits = dict.fromkeys([path for path in expected if path.startswith("crowd/")][::5])
    assert mounted(spliced(stock, edits), tmp_path) == edited(expected, edits)


# -- random edits against a model ----------------------------------------------------------

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda unit, size: (unit * size)[:size], st.binary(min_size=1, max_size=9),
              st.integers(4000, 14_000)),
)  # fmt: skip
EDIT = st.one_of(
    st.none(),
    st.builds(NewFile, content=CONTENTS, mode=st.sampled_from([0o644, 0o755, 0o4750])),
    st.builds(NewLink, target=st.sampled_from(["a", "../b", "/c"])),
)


def makes_sense(found: dict[str, tuple], edits) -> bool:
    """Whether `edits` contradict neither the tree nor each other."""
    removed = {path for path, edit in edits.items() if edit is None}
    for path in removed:
        is_gone = any(f"{path}/".startswith(f"{other}/") for other in removed - {path})
        if path not in found or is_gone:
            return False
    after = edited(found, dict.fromkeys(removed))
    for path, edit in sorted(edits.items()):
        if edit is None:
            continue
        parents = path.split("/")[:-1]
        above = ["/".join(parents[:depth]) for depth in range(1, len(parents) + 1)]
        if any(after.get(parent, ("dir",))[0] != "dir" for parent in above):
            return False
        there = after.get(path)
        if there and there[0] == "dir":
            return False
        after = edited(after, {path: edit})
    return True


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_edits_of_any_image_give_what_the_model_says(tmp_path, data):
    image, model = data.draw(st.sampled_from(_small_images(tmp_path)))
    for _ in range(data.draw(st.integers(1, 2))):
        edits = data.draw(st.dictionaries(PATHS, EDIT, max_size=6))
        if not makes_sense(model, edits):
            with pytest.raises(FormatError):
                spliced(image, edits)
            continue
        image, model = spliced(image, edits), edited(model, edits)
        assert read_by_us(image) == model
    assert unsquashed(image, tmp_path / "out") == model


def _small_images(scratch: Path, made: dict = {}) -> list[tuple[bytes, dict]]:  # noqa: B006
    """A few images with names that the edits meet; made once."""
    if not made:
        root = scratch / "small"
        for path, content in {"a/a": b"1", "a/b/c": b"22" * 5000, "b": b"3" * 9000}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        os.link(root / "a/a", root / "a/c")
        (root / "c").symlink_to("a")
        for name, options in (
            ("gzip", ["-comp", "gzip", "-b", "4K"]),
            ("zstd", ["-comp", "zstd", "-b", "4K", "-always-use-fragments"]),
            ("lz4", ["-comp", "lz4", "-b", "4K", "-no-fragments"]),
        ):
            made[name] = make_image(root, scratch / name, options), contents(root)
    return list(made.values())


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "edits,message",
    [
        ({"none": None}, "'none' cannot be removed: it is not there"),
        ({"modules/none/x": None}, "'modules/none/x' cannot be removed: it is not there"),
        (
            {"modules": None, "modules/firmware": None},
            "'modules/firmware' cannot be removed: it is not there",
        ),
        (
            {"modules": NewFile(content=b"")},
            "'modules' cannot be replaced by a file or a link: it is a directory",
        ),
        (
            {"modules/firmware/far/x": NewFile(content=b"")},
            "'modules/firmware/far' cannot hold anything: it is a file or a link",
        ),
        ({"x": NewLink(target="")}, "'x' cannot be a link with this target"),
        ({"x": NewLink(target="y" * 4096)}, "'x' cannot be a link with this target"),
        ({"../x": NewFile(content=b"")}, "'../x' is no name for a file in an image"),
        ({"/x": NewFile(content=b"")}, "'/x' is no name for a file in an image"),
        ({"": None}, "'' is no name for a file in an image"),
        ({"x" * 256: None}, f"{'x' * 256!r} is no name for a file in an image"),
        ({"a\0b": NewFile(content=b"")}, "'a\\x00b' is no name for a file in an image"),
    ],
)
def test_edits_that_make_no_sense_are_refused(packed, edits, message):
    with pytest.raises(FormatError) as caught:
        spliced(packed, edits)
    assert str(caught.value) == f"stock: {message}\n  next: correct the changes"


def test_an_image_with_a_pipe_is_refused(tmp_path):
    (tmp_path / "t").mkdir()
    os.mkfifo(tmp_path / "t/pipe")
    with pytest.raises(FormatError) as caught:
        spliced(make_image(tmp_path / "t", tmp_path / "x", ["-comp", "gzip"]), {})
    assert str(caught.value) == (
        "stock: 'pipe' is a device, pipe or socket; expected files, directories and links\n"
        "  next: use the release's own modloop: it holds none"
    )


@pytest.mark.parametrize(
    "options,patch,got",
    [
        (["-comp", "gzip", "-Xcompression-level", "6"], struct.pack("<I", 99), "gzip level 99"),
        (["-comp", "zstd", "-Xcompression-level", "3"], struct.pack("<I", 99), "zstd level 99"),
        (["-comp", "xz", "-Xbcj", "x86"], struct.pack("<II", 1, 1), "xz dictionary of 1 bytes"),
        (["-comp", "xz", "-Xbcj", "x86"], struct.pack("<II", 8192, 64), "xz branch filters 0x40"),
    ],
)
def test_impossible_compressor_options_are_refused(tree, tmp_path, options, patch, got):
    image = bytearray(make_image(tree, tmp_path / "x", options))
    image[98 : 98 + len(patch)] = patch
    with pytest.raises(FormatError) as caught:
        spliced(bytes(image), {})
    assert caught.value.message == (
        f"stock: damaged squashfs image: impossible compressor options; got {got}"
    )


def test_compressor_options_of_the_wrong_size_are_refused(tree, tmp_path):
    image = bytearray(make_image(tree, tmp_path / "x", ["-comp", "xz", "-Xbcj", "x86"]))
    image[96:98] = struct.pack("<H", 0x8000 | 5)
    with pytest.raises(FormatError) as caught:
        spliced(bytes(image), {})
    assert caught.value.message.endswith("impossible compressor options; got 5 bytes of xz options")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("plain")
    (root / "t/directory").mkdir(parents=True)
    (root / "t/file").write_bytes(b"inside" * 1000)
    return make_image(
        root / "t", root / "x", ["-comp", "gzip", "-noI", "-noD", "-noF", "-no-fragments"]
    )


def test_content_outside_of_its_place_is_refused(plain):
    image = bytearray(plain)
    table = Squashfs(plain).superblock.inode_table
    # Behind the block's length word lie the inodes: the empty directory's, then the file's.
    at = plain.index(struct.pack("<I", 6000 | 1 << 24), table) - 16
    struct.pack_into("<I", image, at, table - 100)
    with pytest.raises(FormatError) as caught:
        spliced(bytes(image), {})
    assert caught.value.message == (
        "stock: damaged squashfs image: content outside of its place; "
        f"expected between byte 96 and {table}, got {table - 100}+6000"
    )


def test_a_directory_with_two_names_is_refused(plain):
    """Taken over, it would be written twice, or hold itself."""
    image = bytearray(plain)
    start = Squashfs(plain).superblock.directory_table + 2 + layout.DIRECTORY_HEADER.size
    directory, file = plain[start : start + 2], start + 8 + len("directory")
    image[file : file + 2] = directory  # the file's name leads to the directory's inode
    with pytest.raises(FormatError) as caught:
        spliced(bytes(image), {})
    assert caught.value.message == (
        "stock: damaged squashfs image: 'file' is a directory with another name"
    )


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_gives_an_image_or_a_format_error(tmp_path, plain, data):
    images = [plain, *(image for image, _ in _small_images(tmp_path))]
    image = data.draw(st.sampled_from(images))
    position = data.draw(st.integers(0, len(image) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=4))
    broken = bytearray(image)
    broken[position : position + len(damage)] = damage
    try:
        spliced(bytes(broken), {"new": NewFile(content=b"x" * 9000)})
    except FormatError:
        pass
