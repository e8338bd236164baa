"""Where a site says which machine is what."""

RECIPE = "recipes/hosts.toml"
IMPORTS = "recipes/hosts"
"""Files of hosts that the recipe imports lie here, and nowhere else."""
