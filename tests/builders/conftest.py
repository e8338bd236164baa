"""What tests of the pxerd builder share."""

from __future__ import annotations

import shutil

import pytest
from kernel_samples import write_modloop, write_module_tree
from pxerd_samples import FEATURES, Site


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    root = tmp_path_factory.mktemp("kernel")
    directory = write_module_tree(root / "tree")
    write_modloop(root / "tree", root / "modloop")
    return root, directory


@pytest.fixture
def site(kernel, tmp_path):
    root, directory = kernel
    shutil.copy(root / "modloop", tmp_path / "modloop")
    (tmp_path / "features.d").mkdir()
    for name, text in FEATURES.items():
        (tmp_path / "features.d" / name).write_text(text)
    made = Site(tmp_path, directory)
    made.write_stock()
    return made
