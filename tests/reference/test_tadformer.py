"""TADFormer equals its equations, computed image by image, window by window and task by task.

The oracle holds two plain timm trunks with the trained norms, tables and so on: in ``frozen`` the matrices are W, in
``dense`` they are W + s B A. It attends in every window on its own, prompts in front, and filters tap by tap.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods._stream import LoRALinear
from methods.tadformer import TADFormer
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

SCALE = 4.0


def subject_of(**settings: object) -> Subject:
    return Subject(TADFormer, TADFormer.Config.model_validate({"name": "tadformer", "rank": 4, **settings}), "swin")


def plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in ("block", "linear"))


def filtered(own: Any, x: Tensor, t: int) -> Tensor:
    """Filter one map [h, w, r] with its own kernels or those of the task."""
    height, width, rank = x.shape
    if hasattr(own, "offset"):
        raw = (own.weight @ x.reshape(-1, rank).mean(0) + own.bias).view(rank, 9)
        centred = raw - raw.mean(1, keepdim=True)
        deviation = (centred.square().sum(1, keepdim=True) / 8).sqrt()
        kernels, bias = centred / (deviation + 1e-10) * own.gain.view(rank, 9) + own.offset.view(rank, 9), 0.0
    elif hasattr(own, "weight"):
        kernels, bias = own.weight[t].view(rank, 9), own.bias[t]
    else:
        return x
    padded, out = F.pad(x, (0, 0, 1, 1, 1, 1)), torch.zeros_like(x)
    for tap in range(9):
        i, j = divmod(tap, 3)
        out = out + padded[i : i + height, j : j + width] * kernels[:, tap]
    return out + bias


class Oracle:
    """One image's features by task; ``filter_windows`` false filters the whole map at proj: a control."""

    def __init__(self, method: TADFormer, *, filter_windows: bool = True, tasks: tuple[int, ...] = (0, 1, 2)) -> None:
        self.method, self.filter_windows, self.tasks = method, filter_windows, tasks
        self.frozen, self.dense = tiny_backbone("swin"), tiny_backbone("swin")
        names = self.frozen.trunk.state_dict().keys()
        state = {plain(n): x.clone() for n, x in method.backbone.trunk.state_dict().items() if plain(n) in names}
        self.frozen.trunk.load_state_dict(state)
        for path, layer in method.backbone.trunk.named_modules():
            if isinstance(layer, LoRALinear):
                state[f"{plain(path)}.weight"] += SCALE * layer.shared.up.weight[0] @ layer.shared.down.weight[0]
        self.dense.trunk.load_state_dict(state)

    def attend(self, block: Any, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return values [H, W, C], prompts' values [T, C] and raw scores [T, H, W, heads]."""
        height, width, channels = x.shape
        (rows, columns), (down, right) = block.window_size, block.shift_size
        number, heads = len(prompts), block.attn.num_heads
        at = torch.arange(height * width).view(height, width).roll((-down, -right), (0, 1))
        bias = block.attn.relative_position_bias_table[block.attn.relative_position_index.view(-1)]
        bias = bias.view(rows * columns, rows * columns, heads)
        values, carried = torch.zeros(height * width, channels), []
        scores = torch.zeros(number, height * width, heads)
        windows = [(i, j) for i in range(0, height, rows) for j in range(0, width, columns)]
        for window, (i, j) in enumerate(windows):
            index = at[i : i + rows, j : j + columns].reshape(-1)
            projected = block.attn.qkv(torch.cat([prompts, x.view(-1, channels)[index]]))
            query, key, value = projected.view(-1, 3, heads, channels // heads).unbind(1)
            outs = []
            for head in range(heads):
                products = query[:, head] @ key[:, head].T
                scores[:, index, head] = products[:number, number:]
                logits = products * (channels // heads) ** -0.5
                logits[number:, number:] += bias[:, :, head]
                if block.attn_mask is not None:
                    logits[number:, number:] += block.attn_mask[window]
                outs.append(logits.softmax(-1) @ value[:, head])
            out = torch.cat(outs, -1)
            carried.append(out[:number])
            values[index] = out[number:]
        shape = (height, width)
        return values.view(*shape, channels), torch.stack(carried).mean(0), scores.view(number, *shape, heads)

    def over_windows(self, block: Any, own: Any, x: Tensor, t: int) -> Tensor:
        if not self.filter_windows:
            return filtered(own, x, t)
        (rows, columns), (down, right) = block.window_size, block.shift_size
        rolled = x.roll((-down, -right), (0, 1))
        out = torch.zeros_like(rolled)
        for i in range(0, len(x), rows):
            for j in range(0, x.shape[1], columns):
                out[i : i + rows, j : j + columns] = filtered(own, rolled[i : i + rows, j : j + columns], t)
        return out.roll((down, right), (0, 1))

    def streams(self, number: int, x: Tensor, values: Tensor, scores: Tensor) -> list[Tensor]:
        """Return what is read of a stage, by task, from its last block's input, values and scores."""
        block = self.dense.blocks[number]
        dense: Any = self.dense.block_module(block)
        frozen: Any = self.frozen.block_module(block)
        ours: Any = self.method.backbone.block_module(block)
        x_0 = x + dense.attn.proj(values)
        n_0 = dense.norm2(x_0)
        g_0 = F.gelu(dense.mlp.fc1(n_0))
        read = []
        for place, t in enumerate(self.tasks):

            def low_rank(layer: Any, a: Tensor, over: Any) -> Tensor:
                return SCALE * over(a @ layer.shared.down.weight[0].T) @ layer.shared.up.weight[0].T

            proj, fc1, fc2 = ours.block.attn.proj, ours.block.mlp.fc1, ours.block.mlp.fc2
            skip = F.gelu(scores[place]).repeat_interleave(values.shape[-1] // scores.shape[-1], -1) * values
            norm = ours.prompt_norm
            entered = F.layer_norm(skip + values, skip.shape[-1:], norm.weight[0], norm.bias[0])
            own = low_rank(proj, entered, lambda a, t=t, p=proj: self.over_windows(dense, p.filter, a, t))
            x_t = x + frozen.attn.proj(values) + own
            own = low_rank(fc1, dense.norm2(x_t), lambda a, t=t, p=fc1: filtered(p.filter, a, t))
            g_t = F.gelu(frozen.mlp.fc1(n_0) + own)
            z_t = x_t + frozen.mlp.fc2(g_0) + low_rank(fc2, g_t, lambda a, t=t, p=fc2: filtered(p.filter, a, t))
            s = 1 / (1 + torch.exp(-ours.gate))
            read.append(s * skip + (1 - s) * z_t)
        return read

    @torch.no_grad()
    def __call__(self, image: Tensor) -> list[list[Tensor]]:
        dense, levels = self.dense, list[list[Tensor]]()
        x = dense.stem((image - dense.mean) / dense.std)[0]
        prompts = torch.empty(0)
        for number, block in enumerate(dense.blocks):
            module: Any = dense.block_module(block)
            entry: Any = self.method.backbone.block_module(block).entry
            if block.index == 0:
                x = dense.enter_stage(x[None], block.stage)[0]
                prompts = prompts @ entry.linear.weight.T if number else entry.tokens[list(self.tasks)]
            values, carried, scores = self.attend(module, module.norm1(x), module.norm1(prompts))
            if block.is_last_in_stage:
                stage = [tokens[None] for tokens in self.streams(number, x, values, scores)]
                at = block.stage
                if self.method.config.taps == "after-merge" and at < 3:
                    at += 1
                    stage = [dense.enter_stage(tokens, at) for tokens in stage]
                levels.append([dense.to_map(tokens, at) for tokens in stage])
            x = x + module.attn.proj(values)
            x = x + module.mlp(module.norm2(x))
            prompts = prompts + module.mlp(module.norm2(module.attn.proj(carried)))
        return levels


def gap(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max((one - two).abs().max().item() for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("settings", [{}, {"filter": "static"}, {"filter": "none"}, {"taps": "after-merge"}], ids=str)
def test_features_equal_the_equations(settings: dict[str, object]) -> None:
    subject = subject_of(**settings)
    method = disturb(subject.build()).method
    assert isinstance(method, TADFormer)
    images = subject.images()
    with torch.no_grad():
        features = method(images)
    whole_map = Oracle(method, filter_windows=False)
    for number, image in enumerate(images):
        levels, control = (one(image[None]) for one in (Oracle(method), whole_map))
        for t, task in enumerate(TASKS):
            ours = [level[number : number + 1] for level in features.for_task(task)]
            assert gap(ours, [level[t] for level in levels]) < 1e-4
            assert gap(ours, [level[(t + 1) % len(TASKS)] for level in levels]) > 1e-2
            differs = gap(ours, [level[t] for level in control]) > 1e-3
            assert differs == (settings.get("filter") != "none")


def test_a_task_depends_on_which_others_there_are() -> None:
    """Prompts attend to one another and tokens to all of them: with two tasks the equations give something else."""
    subject = subject_of()
    method = disturb(subject.build()).method
    assert isinstance(method, TADFormer)
    assert method.couples_tasks
    image = subject.images()[:1]
    with torch.no_grad():
        ours = list(method(image).for_task(TASKS[0]))
    assert gap(ours, [level[0] for level in Oracle(method)(image)]) < 1e-4
    assert gap(ours, [level[0] for level in Oracle(method, tasks=(0, 1))(image)]) > 1e-3
    assert not subject.build(TASKS[:1]).method.couples_tasks


def test_what_is_counted_and_unused_gets_no_gradient_and_nothing_else_does() -> None:
    subject = subject_of()
    model = disturb(subject.build()).train()
    torch.stack([x.square().mean() for x in model(subject.images()).values()]).sum().backward()
    trained = {name: p for name, p in model.method.named_parameters() if p.requires_grad}
    dead = {name for name, p in trained.items() if p.grad is None or not p.grad.any()}
    assert dead == model.method.exempt().keys()
    assert sum(trained[name].numel() for name in dead) == 2 * (16 + 32 + 64 + 128)
