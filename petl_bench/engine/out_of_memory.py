"""Memory that ran out, on any device: how it is told, and what is done before less of it is asked for."""

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def release(device: torch.device) -> None:
    """Give back what an accelerator's allocator keeps, which may lie in pieces too small for anything."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
