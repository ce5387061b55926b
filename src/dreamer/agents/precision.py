"""The device and the precision that networks compute in."""

import contextlib

import torch

from dreamer.errors import UserError


def pick_device(wish: str) -> torch.device:
    """`auto` takes a GPU if there is one."""
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "There is no CUDA GPU that PyTorch can use: leave out --device cuda, or check nvidia-smi."
        )
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def pick_dtype(wish: str, device: torch.device) -> torch.dtype:
    """`auto` takes bfloat16 where the hardware multiplies it natively, else float32."""
    if wish == "auto":
        wish = "bfloat16" if _native_bfloat16(device) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wish]


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_float32_precision(device: torch.device, dtype: torch.dtype) -> None:
    """Disable TF32 on a GPU in matrix products, and in convolutions if the run is in float32. Process-wide.

    PyTorch lets cuDNN round what convolutions multiply to TF32 (10 bits; bfloat16 has 7), which is as good where an
    agent computes in bfloat16 anyway. Matrix products that are in float32 are so for a reason.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = dtype != torch.float32
        torch.set_float32_matmul_precision("highest")


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Large products in `dtype`; in float32 this does nothing at all."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)
