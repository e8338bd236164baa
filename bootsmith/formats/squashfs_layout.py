"""How squashfs 4.0 lays its bytes out: what the reader and the writer both go by.

Source: kernel Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h.
Numbers are little-endian. Metadata (inodes, directories, tables of fragments, ids and
inode numbers) lies in blocks of at most 8 KiB, each behind a length word of two bytes.
"""

from __future__ import annotations

from struct import Struct

MAGIC = b"hsqs"

SUPERBLOCK = Struct("<4sIIIIHHHHHHQQQQQQQQ")
INODE = Struct("<HHHHII")
DIRECTORY = Struct("<IIHHI")
LONG_DIRECTORY = Struct("<IIIIHHI")
FILE = Struct("<IIII")
FILE_INODE = Struct(INODE.format + FILE.format[1:])  # both at once: most inodes are this
LONG_FILE = Struct("<QQQIIII")
LINK = Struct("<II")
DIRECTORY_HEADER = Struct("<III")
DIRECTORY_ENTRY = Struct("<HhHH")
DIRECTORY_INDEX = Struct("<III")
FRAGMENT = Struct("<QII")

COMPRESSIONS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}

# Numbers of inode types: short forms, then those with larger fields.
DIRECTORY_TYPE, FILE_TYPE, LINK_TYPE = 1, 2, 3
LONG_DIRECTORY_TYPE, LONG_FILE_TYPE, LONG_LINK_TYPE = 8, 9, 10

METADATA_BYTES = 8192
METADATA_STORED = 0x8000  # in a metadata block's length word: not compressed
BLOCK_STORED = 1 << 24  # in a data block's length word: not compressed
NO_FRAGMENT = 0xFFFFFFFF
NO_XATTRS = 0xFFFFFFFF
NO_TABLE = 0xFFFFFFFFFFFFFFFF
FRAGMENTS_PER_BLOCK = METADATA_BYTES // FRAGMENT.size
EMPTY_DIRECTORY_BYTES = 3  # a directory's size counts `.` and `..` as three bytes
MOST_ENTRIES_OF_A_HEADER = 256

# Flags of the superblock.
STORED_INODES = 0x0001
STORED_DATA = 0x0002
STORED_FRAGMENTS = 0x0008
WITHOUT_FRAGMENTS = 0x0010
ALWAYS_FRAGMENTS = 0x0020
EXPORTABLE = 0x0080
WITHOUT_XATTRS = 0x0200
COMPRESSOR_OPTIONS = 0x0400
STORED_IDS = 0x0800
