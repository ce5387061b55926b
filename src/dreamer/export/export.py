"""From a run directory to a policy file."""

from pathlib import Path

from dreamer.errors import UserError
from dreamer.export.onnx import policy_onnx
from dreamer.export.policy import pack
from dreamer.export.policy_file import write_policy_file
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.load import load_run


def export_run(run: Path, out: Path) -> None:
    """Write the policy of the newest checkpoint of `run` to `out`, whole or not at all.

    A name that ends in .onnx makes it ONNX, and one in .xz half as large: compressed, with weights in float16.
    Raises `UserError` if there is none, if its agent has learned nothing, or if `out` cannot be written.
    """
    if not out.absolute().parent.is_dir():
        raise UserError(f"The directory of {out} does not exist: make it, or choose another --out.")
    trained = load_run(run, device="cpu")
    if out.suffix == ".onnx":
        content = policy_onnx(trained.agent)
        with atomic_file(out) as file:
            file.write(content)
        return
    write_policy_file(out, pack(trained.agent))
