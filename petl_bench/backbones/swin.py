"""The Swin family (Liu et al., 2021, https://arxiv.org/abs/2103.14030), through timm.

The four levels are the stage outputs before patch merging, without the final norm. timm merges patches at the start of
the next stage.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.mlp import Mlp
from timm.models.swin_transformer import WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from petl_bench.backbones.base import Block, StageInfo
from petl_bench.backbones.transformer import PLAIN, TransformerBackbone, heads_of, keys_and_values
from petl_bench.features import Keyed
from petl_bench.geometry import Geometry, StageGeometry

MASKED = -1e4  # in every number type finite, and so far below any score that its exponential is zero


class PositionedAttention(Keyed):
    """timm's window attention with relative-position biases of its own per row of a forked batch."""

    def __init__(self, attention: Any, tables: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.tables = tables

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map windows [T * B * nW, N, C] to the same; ``mask`` is [nW, N, N]."""
        attention = self.attention
        table = attention.relative_position_bias_table + self.tables()  # [T, entries, heads]
        tokens = x.shape[1]
        bias = table[:, attention.relative_position_index.view(-1)].unflatten(1, (tokens, tokens)).permute(0, 3, 1, 2)
        bias = bias[:, None, None]  # [T, 1, 1, heads, N, N]
        if mask is not None:
            bias = bias + mask[None, None, :, None]
        windows = 1 if mask is None else len(mask)
        bias = bias.expand(-1, len(x) // len(bias) // windows, windows, -1, -1, -1).flatten(0, 2)
        query, key, value = heads_of(attention.qkv(x), 3, attention.num_heads)
        values = mixed(attention, bias, query, key, value)
        return attention.proj_drop(attention.proj(values))

    def merged(self, t: int) -> nn.Module:
        """Return timm's attention whose table holds what is added for task number ``t``."""
        rows, plain = self.tables(), copy.deepcopy(self.attention)
        added = rows[t if len(rows) > 1 else 0]
        plain.relative_position_bias_table = nn.Parameter(plain.relative_position_bias_table + added)
        return plain


def mixed(
    attention: Any, bias: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
) -> Tensor:
    """Mix values [n, heads, N, C / heads] to [n, N, C] with a bias that broadcasts to [n, heads, N, N]."""
    dropout = attention.attn_drop.p if attention.training else 0.0
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout, scale=scale)
    return out.transpose(1, 2).flatten(2)


def _mask_to_zero(block: Any) -> None:
    """Give tokens that a shift must keep apart a weight of exactly zero.

    timm's mask of -100 gives them one of 4e-44, a denormal number, which a CPU multiplies many times more slowly.
    """
    if block.attn_mask is not None:
        block.attn_mask = block.attn_mask.where(block.attn_mask == 0, MASKED)


def _into_windows(block: Any, x: Tensor) -> Tensor:
    """Shift, pad and divide [B, H, W, C] into windows [B * nW, rows, columns, C]."""
    shift = block.shift_size
    shifted = torch.roll(x, (-shift[0], -shift[1]), (1, 2)) if any(shift) else x
    return window_partition(_padded(block, shifted), block.window_size)


def _padded(block: Any, x: Tensor) -> Tensor:
    """Pad [B, H, W, C] so that windows tile it."""
    rows, columns = block.window_size
    return F.pad(x, (0, 0, 0, -x.shape[2] % columns, 0, -x.shape[1] % rows))


def _out_of_windows(block: Any, windows: Tensor, height: int, width: int) -> Tensor:
    """Put windows [B * nW, rows, columns, C] back where they were taken from: [B, H, W, C]."""
    rows, columns = block.window_size
    padded = (height + -height % rows, width + -width % columns)
    merged = window_reverse(windows, (rows, columns), *padded)[:, :height, :width]
    return torch.roll(merged, block.shift_size, (1, 2)) if any(block.shift_size) else merged


def _apart(block: Any, values: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Divide [B * nW, N + p, C] into the values of the tokens [B, H, W, C] and of the prompts [B, p, C], averaged."""
    batch, height, width, _ = x.shape
    tokens = math.prod(block.window_size)
    own = values[:, tokens:].unflatten(0, (batch, -1)).mean(1)
    return _out_of_windows(block, values[:, :tokens].unflatten(1, block.window_size), height, width), own


class SwinBackbone(TransformerBackbone):
    """A Swin trunk; tokens are [B, H, W, C]."""

    family = "swin"
    beside_tokens = ("relative_position_bias_table",)
    has = (
        *PLAIN,
        "attention-values",
        "input-norms",
        "patch-merging",
        "relative-position-tables",
        "scores-in-windows",
    )

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        trunk.prune_intermediate_layers(indices=list(range(len(trunk.layers))), prune_norm=True, prune_head=True)
        super().__init__(trunk, mean, std)
        self.stages = tuple(StageInfo(info["num_chs"], info["reduction"]) for info in trunk.feature_info)
        self.blocks = tuple(
            Block(f"layers.{s}.blocks.{b}", s, b, stage.channels, b == len(trunk.layers[s].blocks) - 1)
            for s, stage in enumerate(self.stages)
            for b in range(len(trunk.layers[s].blocks))
        )
        for block in (self.block_module(block) for block in self.blocks):
            _mask_to_zero(block)

    def stem(self, image: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to tokens [B, H / p, W / p, C]."""
        return self.trunk.patch_embed(image)

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Merge 2 x 2 patches: [B, H, W, C] to [B, H / 2, W / 2, 2C]; nothing in front of the first stage."""
        return self.trunk.layers[stage].downsample(tokens)

    def to_map(self, tokens: Tensor, stage: int) -> Tensor:
        """Map tokens [B, H, W, C] to [B, C, H, W]."""
        return tokens.permute(0, 3, 1, 2)

    def over_map(self, tokens: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation on maps to tokens [B, H, W, C]."""
        return operation(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def geometry(self) -> Geometry | None:
        """Return the stages of a plain Swin whose windows tile the image; padded tokens have no form."""
        embed, stages = self.trunk.patch_embed, list[StageGeometry]()
        for layer, stage in zip(self.trunk.layers, self.stages, strict=True):
            block, tokens = layer.blocks[0], math.prod(layer.blocks[0].input_resolution)
            plain = all(type(one.attn) is WindowAttention and type(one.mlp) is Mlp for one in layer.blocks)
            if not plain or any(n % m for n, m in zip(block.input_resolution, block.window_size, strict=True)):
                return None
            reduction = getattr(layer.downsample, "reduction", None)
            stages.append(
                StageGeometry(
                    stage.channels,
                    len(layer.blocks),
                    tokens,
                    math.prod(block.window_size),
                    block.mlp.fc1.out_features,
                    0 if reduction is None else tokens * reduction.in_features * reduction.out_features,
                )
            )
        return Geometry(embed.num_patches * embed.proj.weight.numel(), tuple(stages))

    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return the patch embedding."""
        return (self.trunk.patch_embed,)

    def entry_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return the patch merging in front of ``stage``."""
        return (self.trunk.layers[stage].downsample,)

    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = x + window attention(norm1(x)), [B, H, W, C]."""
        return x + block.drop_path1(block._attn(block.norm1(x)))

    def position_bias(self, attention: Any) -> Tensor:
        """Return what is added to the scores inside a window, [1, heads, N, N]."""
        return attention._get_rel_pos_bias()

    def projected(self, attention: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values [n, heads, N, C / heads] of tokens [n, N, C]."""
        return heads_of(attention.qkv(tokens), 3, attention.num_heads)

    def attended_to(self, attention: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return keys and values [n, heads, p, C / heads] of tokens [n, p, C] that attend to nothing."""
        return heads_of(keys_and_values(attention.qkv, tokens), 2, attention.num_heads)

    def mixed(self, attention: Any, bias: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Mix values [n, heads, N, C / heads] to [n, N, C]."""
        return mixed(attention, bias, query, key, value)

    def attend(
        self, block: Any, x: Tensor, prompts: Tensor | None = None, *, prompts_attend: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend within shifted windows of [B, H, W, C]; prompts stand in every window, without bias or mask."""
        windows, bias = _into_windows(block, x).flatten(1, 2), self._bias(block, x)  # [B * nW, N, C]
        if prompts is None:
            values = self.mixed(block.attn, bias, *self.projected(block.attn, windows))
        else:
            values = self._prompted(block.attn, windows, bias, prompts, prompts_attend=prompts_attend)
        if prompts_attend:
            return _apart(block, values, x)
        return _out_of_windows(block, values.unflatten(1, block.window_size), *x.shape[1:3]), None

    def attend_scored(self, block: Any, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend as where prompts attend too; return their scores [B, heads, p, H, W] as well."""
        windows = _into_windows(block, x).flatten(1, 2)
        own, theirs = self._projected_together(block.attn, windows, prompts)
        scores = (theirs[0] @ own[1].mT).flatten(1, 2).mT  # [B * nW, N, heads * p]
        scores = _out_of_windows(block, scores.unflatten(1, block.window_size), *x.shape[1:3])
        values, carried = _apart(block, self._mixed_together(block.attn, self._bias(block, x), own, theirs), x)
        return values, carried, scores.permute(0, 3, 1, 2).unflatten(1, (-1, prompts.shape[1]))

    def over_windows(self, block: Any, x: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation on windows [B * nW, rows, columns, C] to [B, H, W, C]."""
        return _out_of_windows(block, operation(_into_windows(block, x)), *x.shape[1:3])

    def _bias(self, block: Any, x: Tensor) -> Tensor:
        """Return what is added to the scores of every window of [B, H, W, C]: positions, and the mask of a shift."""
        bias = self.position_bias(block.attn)
        mask = block.get_attn_mask(_padded(block, x)) if block.dynamic_mask else block.attn_mask
        return bias if mask is None else (bias + mask[:, None]).repeat(len(x), 1, 1, 1)

    def _prompted(
        self, attention: Any, windows: Tensor, bias: Tensor, prompts: Tensor, *, prompts_attend: bool
    ) -> Tensor:
        """Attend within windows [B * nW, N, C] and to the prompts [B, p, C] of their image, projected once for all.

        Prompts have neither bias nor mask. Returns [B * nW, N, C], or [B * nW, N + p, C] when they attend too.
        """
        if prompts_attend:
            return self._mixed_together(attention, bias, *self._projected_together(attention, windows, prompts))
        times, number = len(windows) // len(prompts), prompts.shape[1]
        own = self.projected(attention, windows)
        theirs = [part.repeat_interleave(times, 0) for part in self.attended_to(attention, prompts)]
        query, (key, value) = own[0], (torch.cat(pair, 2) for pair in zip(own[1:], theirs, strict=True))
        return self.mixed(attention, F.pad(bias, (0, number)), query, key, value)

    def _projected_together(
        self, attention: Any, windows: Tensor, prompts: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return queries, keys and values of windows [B * nW, N, C], and of the prompts [B, p, C] in every window."""
        times = len(windows) // len(prompts)
        theirs = self.projected(attention, prompts)
        return self.projected(attention, windows), tuple(part.repeat_interleave(times, 0) for part in theirs)

    def _mixed_together(
        self, attention: Any, bias: Tensor, own: tuple[Tensor, ...], theirs: tuple[Tensor, ...]
    ) -> Tensor:
        """Mix tokens and prompts, which have neither bias nor mask, to [B * nW, N + p, C]."""
        query, key, value = (torch.cat(pair, 2) for pair in zip(own, theirs, strict=True))
        number = theirs[0].shape[2]
        return self.mixed(attention, F.pad(bias, (0, number, 0, number)), query, key, value)

    def attention_branch(self, block: Any, context: Tensor) -> Tensor:
        """Apply the output projection and the drop path to [B, ..., C]."""
        return block.drop_path1(block.attn.proj_drop(block.attn.proj(context)))

    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Apply the drop path."""
        return block.drop_path2(hidden)

    def carry_over(self, prompts: Tensor, stage: int) -> Tensor:
        """Put each prompt in the place of all four merged tokens: [B, p, C] to [B, p, 2C]."""
        merging = self.trunk.layers[stage].downsample
        return merging.reduction(merging.norm(prompts.repeat(1, 1, 4)))

    def position_attention(self, attention: Any, tables: nn.Module) -> nn.Module:
        """Return a window attention whose table has ``tables()`` added, per row of a forked batch."""
        return PositionedAttention(attention, tables)
