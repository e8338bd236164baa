"""depmod's indexes, text and binary, against depmod and modprobe."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_samples import KERNEL, MODULES, index_tree, write_module_tree

from bootsmith.errors import FormatError
from bootsmith.formats.kernel_modules import (
    BUILD_TEXTS,
    INDEX_TEXTS,
    close_over,
    filter_indexes,
    module_name,
    normalize_alias,
    plain_module_path,
    read_module_catalog,
)
from bootsmith.formats.kmod_index import (
    extend_binary_index,
    read_index,
    write_binary_indexes,
    write_index,
)
from bootsmith.tools.run import run_program

BINARIES = tuple(
    f"modules.{name}.bin" for name in ("dep", "alias", "symbols", "builtin", "builtin.alias")
)


def texts_in(directory):
    names = (*INDEX_TEXTS, *BUILD_TEXTS)
    return {name: (directory / name).read_bytes() for name in names if (directory / name).exists()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_module_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def catalog(tree):
    return read_module_catalog(texts_in(tree))


def test_binary_indexes_are_those_of_depmod(tree):
    ours = write_binary_indexes(texts_in(tree))
    assert sorted(ours) == sorted(BINARIES)
    for name, content in ours.items():
        assert content == (tree / name).read_bytes(), name


def test_the_index_that_depmod_wrote_is_read(tree):
    items = read_index((tree / "modules.alias.bin").read_bytes())
    keys = {(key, value) for key, value, _ in items}
    assert ("net_pf_17", "af_packet") in keys
    assert ("pci:v0000ACMEd0000[0-9]*", "acme_100") in keys
    builtin = read_index((tree / "modules.builtin.bin").read_bytes())
    assert [key for key, _, _ in builtin] == ["built_in_thing", "nfs"]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=12),
            st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=5),
            st.integers(0, 2**32 - 1),
        ),
        max_size=40,
    )
)
def test_what_was_indexed_is_found_again(items):
    read = read_index(write_index(items))
    assert sorted(read) == sorted(items)
    keys = [key for key, _, _ in read]
    assert keys == sorted(keys)
    for key in set(keys):
        priorities = [priority for found, _, priority in read if found == key]
        assert priorities == sorted(priorities)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_damaged_index_is_an_error_or_read(noise, position):
    data = bytearray(write_index([("alpha", "1", 0), ("alpine", "2", 1), ("beta", "3", 2)]))
    data[position : position + len(noise)] = noise
    try:
        read_index(bytes(data))
    except FormatError:
        pass


LETTERS = st.text(st.sampled_from("ab[-]*"), min_size=1, max_size=6)
NAMES = ("modules.dep.bin", "modules.alias.bin", "modules.symbols.bin")


def texts_of(modules):
    """Texts of (path, aliases, symbols), with a comment as depmod leaves it."""
    texts = {"modules.dep": b"", "modules.alias": b"# Aliases\n", "modules.symbols": b""}
    for path, aliases, symbols in modules:
        name = module_name(path).encode()
        texts["modules.dep"] += path.encode() + b":\n"
        for alias in aliases:
            texts["modules.alias"] += b"alias %b %b\n" % (alias.encode(), name)
        for symbol in symbols:
            texts["modules.symbols"] += b"alias symbol:%b %b\n" % (symbol.encode(), name)
    return texts


@given(
    st.lists(
        st.tuples(st.from_regex(r"\A[ab]{1,5}\.ko\Z"), st.lists(LETTERS), st.lists(LETTERS)),
        unique_by=lambda module: module[0],
    ),
    st.integers(0, 10),
)
def test_an_index_that_is_extended_says_what_one_written_anew_says(modules, count):
    before, after = texts_of(modules[:count]), texts_of(modules)
    there, anew = write_binary_indexes(before), write_binary_indexes(after)
    for name in NAMES:
        extended = extend_binary_index(name, there[name], before, after)
        assert extended is not None
        assert read_index(extended) == read_index(anew[name])
        start, shorter = 12, there[name][12:]
        root = int.from_bytes(there[name][8:12], "big") & 0x0FFFFFFF
        if extended[8:12] == there[name][8:12]:  # the new root stands where the old one stood
            start, shorter = 0, there[name][:root]
        assert extended[start:].startswith(shorter)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_damaged_index_is_extended_or_refused(noise, position):
    before = texts_of([("abba.ko", ["a-b"], ["s"]), ("bab.ko", ["aa", "ab"], [])])
    after = texts_of([*[("abba.ko", ["a-b"], ["s"]), ("bab.ko", ["aa", "ab"], [])],
                      ("ab.ko", ["a-c", "aa"], ["t"])])  # fmt: skip
    for name, index in write_binary_indexes(before, NAMES).items():
        damaged = bytearray(index)
        damaged[position : position + len(noise)] = noise
        extended = extend_binary_index(name, bytes(damaged), before, after)
        assert extended is None or len(extended) > len(damaged)


@pytest.mark.parametrize("changed", [
    {"modules.dep": b"c.ko:\na.ko:\nb.ko:\n"},
    {"modules.dep": b"a.ko:\n"},
    {"modules.alias": b"alias other a\nalias x a\n"},
    {"modules.dep": b"a.ko:\nb.ko:\n", "modules.alias": b"alias x a\nalias y a\n"},
])  # fmt: skip
def test_only_lines_at_the_end_extend_an_index(changed):
    before = {"modules.dep": b"a.ko:\nb.ko:\n", "modules.alias": b"alias x a\n"}
    index = write_binary_indexes(before, ["modules.alias.bin"])["modules.alias.bin"]
    assert extend_binary_index("modules.alias.bin", index, before, before | changed) is None
    newer = index[:4] + b"\0\3\0\0" + index[8:]
    assert extend_binary_index("modules.alias.bin", newer, before, before) is None


def test_indexes_hold_ascii_only():
    with pytest.raises(FormatError) as caught:
        write_index([("ä", "x", 0)], subject="modules.alias")
    assert caught.value.message == (
        "modules.alias: 'ä' is not plain ASCII, which module indexes are limited to"
    )
    with pytest.raises(FormatError) as caught:
        read_index(b"\0" * 12)
    assert caught.value.message == (
        "module index: no kmod index; expected magic b007f457 and version 2, got 00000000 and 0"
    )


@pytest.mark.parametrize(
    "alias,normal",
    [
        ("a-b[c-d]e-f", "a_b[c-d]e_f"),
        ("plain", "plain"),
        ("a]b", None),
        ("a[b", None),
        ("x-[a-b]-[c-d]", "x_[a-b]_[c-d]"),
    ],
)
def test_aliases_are_normalized_as_kmod_does(alias, normal):
    assert normalize_alias(alias) == normal


def test_names_and_plain_paths():
    assert module_name("kernel/arch/x86/crypto/crc32c-intel.ko.zst") == "crc32c_intel"
    assert plain_module_path("kernel/a.ko.gz") == "kernel/a.ko"
    assert plain_module_path("kernel/a.gz") == "kernel/a.gz"


def test_closure_follows_softdeps_through_aliases(catalog):
    closure = close_over(catalog, ["kernel/fs/ext4/ext4.ko", "kernel/fs/squashfs/squashfs.ko"])
    assert set(closure.paths) == {
        "kernel/fs/ext4/ext4.ko",
        "kernel/fs/jbd2/jbd2.ko",
        "kernel/lib/libcrc32c.ko",
        "kernel/crypto/crc32c_generic.ko",
        "kernel/crypto/crc32c-intel.ko",
        "kernel/fs/squashfs/squashfs.ko",
    }
    assert closure.by_dependency == {
        "kernel/fs/jbd2/jbd2.ko": "kernel/fs/ext4/ext4.ko",
        "kernel/lib/libcrc32c.ko": "kernel/fs/ext4/ext4.ko",
    }
    assert set(closure.by_softdep) == {
        "kernel/crypto/crc32c_generic.ko",
        "kernel/crypto/crc32c-intel.ko",
    }
    # squashfs wishes for something built in: that is no gap
    assert closure.unresolved == (("libcrc32c", "not-there"),)
    assert list(closure.paths) == [path for path in catalog.dependencies if path in closure.paths]


def test_softdeps_reach_wildcards_and_what_is_built_in(catalog):
    wishes = {
        "crypto-crc32c-inte-l": ["kernel/crypto/crc32c-intel.ko"],
        "tty-x-b": [],
        "nfs": [],
        "fs-nfs": [],
        "net-pf-17": ["kernel/net/packet/af_packet.ko"],
        "nothing": None,
    }
    for wish, expected in wishes.items():
        asking = {"loop": (wish,)}
        some = replace(catalog, softdeps=asking)
        closure = close_over(some, ["kernel/drivers/block/loop.ko"])
        assert sorted(closure.by_softdep) == (expected or []), wish
        assert bool(closure.unresolved) == (expected is None), wish


@given(st.lists(st.text(st.sampled_from("ab_-*?[]"), min_size=1, max_size=5)), LETTERS)
def test_an_alias_is_found_as_if_each_were_tried(aliases, name):
    text = "".join(f"alias {alias} m{number}\n" for number, alias in enumerate(aliases))
    catalog = read_module_catalog({"modules.alias": text.encode()})
    name = name.replace("-", "_")
    tried = set()
    for number, alias in enumerate(aliases):
        is_pattern = any(letter in alias for letter in "*?[")
        pattern = normalize_alias(alias) if is_pattern else None
        plain = alias.replace("-", "_")
        if fnmatchcase(name, pattern) if pattern else not is_pattern and plain == name:
            tried.add(f"m{number}")
    assert set(catalog.aliases_like(name).matching(name)) == tried


@pytest.fixture(scope="module")
def subset(tree, catalog, tmp_path_factory):
    """Our indexes of a closed choice, and depmod's over a tree of just those files."""
    chosen = ["kernel/drivers/net/virtio_net.ko", "kernel/fs/ext4/ext4.ko"]
    kept = {path: path for path in close_over(catalog, chosen).paths}
    ours = filter_indexes(texts_in(tree), kept)
    ours |= write_binary_indexes(ours)
    root = tmp_path_factory.mktemp("subset")
    directory = root / "modules" / KERNEL
    for path in [*kept, *BUILD_TEXTS]:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / path, directory / path)
    index_tree(root)
    return ours, directory, root


def test_a_subset_is_indexed_as_depmod_would(subset):
    ours, directory, _ = subset
    for name in INDEX_TEXTS:
        if (directory / name).exists():
            theirs = (directory / name).read_bytes()
            assert sorted(words(ours[name])) == sorted(words(theirs)), name
    for name in BINARIES:
        theirs = read_index((directory / name).read_bytes())
        assert sorted(map(comparable, read_index(ours[name]))) == sorted(map(comparable, theirs)), (
            name
        )


def words(text):
    """Lines, each with its dependencies in any order: depmod's depends on the whole tree."""
    return [sorted(line.split()) for line in text.splitlines()]


def comparable(item):
    key, value, priority = item
    return key, sorted(value.split()), priority


@pytest.mark.parametrize(
    "asked", ["virtio:d00000001v00000001", "fs-ext4", "crypto-crc32c", "symbol:jbd2_begin", "nfs"]
)
def test_modprobe_finds_the_same_through_our_indexes(subset, tmp_path, asked):
    ours, directory, root = subset
    shutil.copytree(directory, tmp_path / "lib/modules" / KERNEL)
    for name, content in ours.items():
        (tmp_path / "lib/modules" / KERNEL / name).write_bytes(content)
    (root / "lib").mkdir(exist_ok=True)
    if not (root / "lib/modules").exists():
        (root / "lib/modules").symlink_to("../modules")
    told = [
        run_program(["modprobe", "-d", base, "-S", KERNEL, "--show-depends", asked]).text
        for base in (root, tmp_path)
    ]
    lines = [sorted(line.rpartition("/")[2] for line in text.splitlines()) for text in told]
    assert lines[0] == lines[1]
    assert lines[0]


def test_modules_whose_file_changed_its_suffix_are_renamed_everywhere(tree):
    texts = {
        "modules.dep": b"kernel/a.ko.gz: kernel/b.ko.gz\nkernel/b.ko.gz:\nkernel/c.ko.gz:\n",
        "modules.alias": b"# Aliases\nalias x a\nalias y c\n",
        "modules.order": b"kernel/a.ko\n",
    }
    kept = {"kernel/a.ko.gz": "kernel/a.ko", "kernel/b.ko.gz": "kernel/b.ko"}
    assert filter_indexes(texts, kept) == {
        "modules.dep": b"kernel/a.ko: kernel/b.ko\nkernel/b.ko:\n",
        "modules.alias": b"# Aliases\nalias x a\n",
        "modules.order": b"kernel/a.ko\n",
    }


def test_devname_and_softdep_lines_go_with_their_module(tree):
    texts = texts_in(tree)
    with_it = filter_indexes(texts, {path: path for path in MODULES})
    assert with_it["modules.devname"] == texts["modules.devname"]
    assert b"misc_dev misc/thing c10:200" in with_it["modules.devname"]
    without = filter_indexes(texts, {"kernel/fs/jbd2/jbd2.ko": "kernel/fs/jbd2/jbd2.ko"})
    assert b"misc_dev" not in without["modules.devname"]
    assert b"softdep" not in without["modules.softdep"]


def test_a_broken_modules_dep_is_located():
    with pytest.raises(FormatError) as caught:
        read_module_catalog({"modules.dep": b"a.ko:\nb.ko a.ko\n"}, subject="M: modules.dep")
    assert caught.value.message == (
        "M: modules.dep: line 2 has no colon; expected path: paths it needs, got 'b.ko a.ko'"
    )
    with pytest.raises(FormatError) as caught:
        read_module_catalog({"modules.dep": b"b.ko: a.ko\n"})
    assert caught.value.message == (
        "modules.dep: b.ko depends on a.ko, which has no line of its own"
    )
