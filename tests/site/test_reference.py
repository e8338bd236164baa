"""The reference page is what the models say."""

from __future__ import annotations

import re
import tomllib

from bootsmith.site.inventory_models import HostsRecipe
from bootsmith.site.models import Image, Installer, Release, SiteSettings, Template
from bootsmith.site.reference import reference_page
from bootsmith.site.schema import Table

MODELS = (SiteSettings, Release, Template, Image, HostsRecipe, Installer)


def test_the_page_in_docs_is_up_to_date(checkout):
    page = (checkout / "docs/recipes.md").read_text()
    assert page == reference_page(), (
        "write it anew: python -m bootsmith.site.reference > docs/recipes.md"
    )


def test_every_key_is_described():
    page = reference_page()
    for model in MODELS:
        for key in model.declared_keys():
            if isinstance(key.check, Table):
                assert f"### `[{key.name}]`" in page
                for inner in key.check.model.declared_keys():
                    assert f"| `{inner.name}` |" in page
            assert key.about.endswith(".")


def test_examples_are_toml_with_known_keys():
    known = {key.name for model in MODELS for key in model.declared_keys()}
    examples = re.findall(r"```toml\n(.*?)```", reference_page(), re.DOTALL)
    assert len(examples) == 8
    for example in examples:
        assert tomllib.loads(example).keys() <= known
