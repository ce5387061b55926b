"""The device and the precision that networks compute in."""

import contextlib

import torch

from dreamer.errors import UserError


def pick_device(wish: str) -> torch.device:
    """Return the device for `--device`; `auto` takes a GPU if there is one. Raises `UserError` if `cuda` has none."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "There is no CUDA GPU that PyTorch can use: leave out --device cuda, or check nvidia-smi."
        )
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def pick_dtype(wish: str, device: torch.device) -> torch.dtype:
    """Return the type for `--precision`; `auto` takes bfloat16 if the hardware multiplies it natively."""
    if wish == "auto":
        wish = "bfloat16" if _native_bfloat16(device) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wish]


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_float32_precision(device: torch.device, dtype: torch.dtype) -> None:
    """Switch TF32 off on a GPU, for the whole process: in matrix products, and in a float32 run in convolutions too.

    TF32 rounds the factors of a product to 10 bits. In a run in bfloat16, which has 7 bits, convolutions may as well do
    so. Matrix products that are in float32 even there need the precision.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = dtype != torch.float32
        torch.set_float32_matmul_precision("highest")


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Return a context that computes large products in `dtype`; for float32 it changes nothing."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)
