"""The gate: what a generation must pass before machines boot it.

checks   every file exists and re-hashes; kernel, pxerd and modloop of each boot set are whole
         and of one kernel release and arch; overlays can be unpacked; machines come up by what
         the netboot tree tells them; each key boots this generation's files
boot     that, and evidence that exactly these bytes booted, for every scenario of the site
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.formats.manifest import Manifest
from bootsmith.generations.fact_memory import FactMemory
from bootsmith.generations.key_check import key_problems
from bootsmith.generations.netboot_check import netboot_problems
from bootsmith.generations.parts_check import read_parts
from bootsmith.generations.verify import check_files, check_kernel_releases
from bootsmith.site.scenarios import SCENARIOS
from bootsmith.smoke.evidence import keep_proof, require_proof
from bootsmith.smoke.parts import choose_parts

_MOST_SHOWN = 30
FACTS_PATH = "cache/gate.json"
"""Below artifacts/: what was read off files at an earlier gate."""


def check_gate(
    generation: Path,
    manifest: Manifest,
    *,
    gate: str,
    scenarios: Sequence[str],
    evidence: Path,
    facts: Path,
) -> None:
    """Raise a BootsmithError unless the generation may become current under this gate.

    All that is wrong is said at once. `scenarios` are the boots that gate `boot` demands,
    `evidence` the directory of all evidence; what counted is kept with the generation. `facts`
    is the file that remembers what was read off files by their digest.
    """
    check_files(generation, manifest)
    _raise_all(manifest, list(problems_of(generation, manifest, facts)))
    if gate == "boot":
        _check_boots(manifest, scenarios, evidence)


def problems_of(generation: Path, manifest: Manifest, facts: Path) -> Iterator[BootsmithError]:
    """Whatever would keep a machine from booting with files that are as the manifest says."""
    memory = FactMemory(facts)
    parts = read_parts(generation, manifest, memory)
    yield from parts.problems
    if not parts.problems:
        try:
            check_kernel_releases(generation, manifest)
        except BootsmithError as error:
            yield error  # the files agree, and the manifest speaks of others
    yield from netboot_problems(generation, manifest, parts, memory)
    yield from key_problems(generation, manifest, memory)
    memory.save()


def _raise_all(manifest: Manifest, problems: Sequence[BootsmithError]) -> None:
    """One as it is; several as one error that lists each with its next step."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        shown = [str(problem).replace("\n", "\n    ") for problem in problems[:_MOST_SHOWN]]
        if len(problems) > _MOST_SHOWN:
            shown.append(f"and {len(problems) - _MOST_SHOWN} more")
        listed = "".join(f"\n  - {problem}" for problem in shown)
        raise PublishError(
            f"generation {manifest.id}",
            f"{len(problems)} things would keep machines from booting:{listed}",
            hint="do what stands below each, then build again: doit build",
        )


def _check_boots(manifest: Manifest, scenarios: Sequence[str], evidence: Path) -> None:
    if not scenarios:
        raise PublishError(
            f"generation {manifest.id}",
            "nothing of it can be booted, so nothing can be proven",
            hint='set gate = "checks" in [generation] of recipes/site.toml',
        )
    rows = {row.name: row for row in SCENARIOS}
    proofs = {
        name: require_proof(
            evidence,
            generation=manifest.id,
            scenario=name,
            digests=choose_parts(manifest, rows[name]).digests,
        )
        for name in scenarios
    }
    for name, proof in proofs.items():
        keep_proof(evidence, generation=manifest.id, scenario=name, proof=proof)
