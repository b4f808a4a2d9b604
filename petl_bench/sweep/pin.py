"""Which code a run was submitted with: what waits in a queue must not start as something else."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from petl_bench.errors import UsageError

PACKAGES = ("petl_bench", "methods")


def code_digest() -> str:
    """Return a digest of every source file of the package and its methods, as they lie on disk now."""
    hashed = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        folders = () if spec is None else spec.submodule_search_locations or ()
        for folder in map(Path, folders):
            for path in sorted(folder.rglob("*.py")):
                hashed.update(str(path.relative_to(folder)).encode())
                hashed.update(path.read_bytes())
    return hashed.hexdigest()


def require_code(digest: str) -> None:
    """Ask for the code that was submitted.

    Raises:
        UsageError: A file changed since.
    """
    if code_digest() != digest:
        raise UsageError(
            "The code of the package changed between submission and start, so these runs would not be what was "
            "submitted.\nType: petl-bench sweep ... --launcher slurm   again, and leave the checkout alone meanwhile"
        )
