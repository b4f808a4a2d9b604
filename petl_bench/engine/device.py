"""Where and in which numbers a run computes: what was asked is had or refused, and what was computed is recorded."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from petl_bench.config import RunConfig
from petl_bench.errors import UsageError

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher of several processes sets beside LOCAL_RANK."""


def choose_device(asked: str) -> torch.device:
    """Return the device of a run; ``auto`` is CUDA where there is one.

    Raises:
        UsageError: The device cannot be had, or nothing can be computed on it.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked
    try:
        device = torch.device(name)
        computed = float(torch.ones(2, device=device).sum())
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(f"--device {asked}: {reason}.\nType: petl-bench run ... --device cpu") from None
    assert computed == 2, f"{device} adds one and one to {computed}"
    if str(device) == "cuda":  # the one in use: torch.cuda.set_device wants its number
        return torch.device("cuda", torch.cuda.current_device())
    return device


def make_accelerator(config: RunConfig) -> Accelerator:
    """Return the accelerator of a run: its device, number type and processes.

    Raises:
        UsageError: The device or the number type cannot be had.
    """
    missing = [name for name in LAUNCHED if name not in os.environ]
    if "LOCAL_RANK" in os.environ and missing:
        raise UsageError(
            f"LOCAL_RANK is set, as by torchrun, but not {', '.join(missing)}.\nType: unset LOCAL_RANK   or: torchrun "
            "--nproc-per-node 2 -m petl_bench run ..."
        )
    device = choose_device(config.runtime.device)
    if config.train.precision == "fp16" and device.type == "cpu":
        raise UsageError(
            "train.precision = fp16 needs an accelerator: on a CPU it would train in float32.\n"
            "Type: --set train.precision=bf16   or   --set train.precision=no"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
        plain_float32()
    # Each run of an experiment has a device and a number type of its own, where accelerate keeps one for a process.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(mixed_precision=config.train.precision, cpu=device.type == "cpu")
    if accelerator.num_processes == 1 and not _same(accelerator.device, device):
        raise UsageError(f"--device {config.runtime.device}: accelerate chose {accelerator.device} instead.")
    return accelerator


def _same(one: torch.device, two: torch.device) -> bool:
    return one == two or str(one) == two.type  # accelerate's may have no number


def plain_float32() -> None:
    """Let float32 be float32 on CUDA: cuDNN would convolve in TF32 (10 bits of mantissa), and no record say so."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def deterministic(asked: bool) -> Generator[None, None, None]:
    """Inside the block, if asked: algorithms that give the same numbers at every run; an operation without one fails.

    On a CPU a run repeats itself bit for bit without it; on CUDA many a backward pass adds in no fixed order.
    """
    before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def number_types(module: nn.Module) -> Generator[list[tuple[str, str]], None, None]:
    """Give a list that ends in the number type (``float32``) and device of what ``module`` last computed.

    Read off the module itself: accelerate turns the predictions of a whole model back into float32.
    """
    computed: list[tuple[str, str]] = []

    def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        computed[:] = [(str(output.dtype).removeprefix("torch."), output.device.type)]

    hook = module.register_forward_hook(note)
    try:
        yield computed
    finally:
        hook.remove()
