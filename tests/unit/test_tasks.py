"""What holds for every task: declared attributes, decoding, drawing, the trivial predictor."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import petl_bench.tasks
from petl_bench import plugins
from petl_bench.tasks import depth, edges, human_parts, normals, saliency, semseg, synthetic
from petl_bench.tasks._binary import BinaryTask
from petl_bench.tasks._classes import ClassTask
from petl_bench.tasks._draw import PALETTE, VIRIDIS, draw_classes, draw_scalar
from petl_bench.tasks.base import TASKS

MODULES = (depth, edges, human_parts, normals, saliency, semseg, synthetic)
CHANNELS = {"semseg": 5, "human_parts": 3, "saliency": 1, "edges": 1, "normals": 3, "depth": 1, "synthetic": 1}
LITERALS = {"loss_weight", "metrics", "primary"}
FOLDER = Path(petl_bench.tasks.__file__).parent


def labels_of(name: str, seed: int) -> Tensor:
    """Return labels of eight images that have something in common: a trivial predictor can learn it."""
    generator = torch.Generator().manual_seed(seed)
    shape = (8, 6, 7)
    chance = torch.rand(shape, generator=generator)
    middle = torch.zeros(shape)
    middle[:, 2:5, 2:5] = 0.7
    invalid = torch.rand(shape, generator=generator) < 0.1
    if name in ("semseg", "human_parts"):
        label = torch.where(chance < 0.6, 2, torch.randint(0, CHANNELS[name], shape, generator=generator))
        return label.masked_fill(invalid, 255).to(torch.uint8)
    if name in ("saliency", "edges"):
        return (chance < 0.1 + middle).long().masked_fill(invalid, 255).to(torch.uint8)
    if name == "normals":
        label = torch.tensor([0.0, 0.6, 0.8])[:, None, None] + 0.5 * torch.randn(8, 3, 6, 7, generator=generator)
        return (label / label.norm(dim=1, keepdim=True)).masked_fill(invalid.unsqueeze(1), 0)
    label = 2 + 3 * middle + chance
    return label if name == "synthetic" else label.masked_fill(invalid, 0)


def score(name: str, prediction: Tensor, label: Tensor) -> float:
    task = TASKS[name](CHANNELS[name])
    metric = task.metric()
    metric.update(prediction, label)
    value = metric.compute()[task.primary]
    return value if task.metrics[task.primary][1] else -value


def once(label: Tensor) -> Iterator[Tensor]:
    """Yield ``label`` in uneven batches, once."""
    yield from label.split([3, 4, 1])


def test_registered_names_and_attributes_are_literals_in_their_file() -> None:
    found = set()
    for path in FOLDER.glob("[!_]*.py"):
        importlib.import_module(f"petl_bench.tasks.{path.stem}")
        for cls in [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]:
            for call in [node for node in cls.decorator_list if isinstance(node, ast.Call)]:
                name = ast.literal_eval(call.args[0])
                assigned = {
                    ast.unparse(node.targets[0]): node.value for node in cls.body if isinstance(node, ast.Assign)
                }
                values = {key: ast.literal_eval(assigned[key]) for key in LITERALS}
                assert values == {key: getattr(TASKS[name], key) for key in LITERALS}
                assert (name, path.stem) == (TASKS[name].name, name)
                found.add(name)
    assert found >= set(CHANNELS)


@pytest.mark.parametrize("name", CHANNELS)
def test_primary_value_and_its_convention_are_declared(name: str) -> None:
    task = TASKS[name](CHANNELS[name])
    assert task.primary in task.metrics
    assert task.metrics.keys() == task.metric().compute().keys()
    for unit, higher_is_better, _ in task.metrics.values():
        assert (unit, higher_is_better) in {("%", True), ("deg", False), ("m", False), ("", False)}


def test_a_convention_says_definition_thresholds_resolution_and_images() -> None:
    saliency = TASKS["saliency"](1)
    assert saliency.convention("max_miou", (48, 64), "test:300") == "max_miou/1[0.20:0.90:15]@48x64/test:300"
    every = [saliency.convention(name, (48, 64), "test:300") for name in saliency.metrics]
    assert len(set(every)) == len(every)


def test_loss_weights_are_those_of_the_field() -> None:
    expected = {"semseg": 1, "human_parts": 2, "saliency": 5, "normals": 10, "depth": 1, "edges": 50, "synthetic": 1}
    assert {name: TASKS[name].loss_weight for name in CHANNELS} == expected


@pytest.mark.parametrize(
    ("name", "channels"), [("saliency", 2), ("edges", 3), ("normals", 1), ("depth", 0), ("semseg", 0)]
)
def test_wrong_number_of_channels_is_an_error(name: str, channels: int) -> None:
    with pytest.raises(ValueError, match=f"{name!r} has .* output channels?, got {channels}"):
        TASKS[name](channels)


@pytest.mark.parametrize("name", CHANNELS)
def test_decoded_predictions_and_labels_are_drawn_as_pictures(name: str) -> None:
    task, label = TASKS[name](CHANNELS[name]), labels_of(name, seed=0)
    decoded = task.decode(3 * torch.randn(8, CHANNELS[name], 6, 7).bfloat16())
    assert decoded.shape == label.shape
    assert decoded.dtype == (torch.int64 if name in ("semseg", "human_parts") else torch.float32)
    for value in (decoded[0], label[0]):
        drawn = task.render((value.movedim(0, -1) if value.ndim == 3 else value).numpy())
        assert (drawn.shape, drawn.dtype) == ((6, 7, 3), np.uint8)
        assert len(np.unique(drawn)) > 1


@pytest.mark.parametrize("name", plugins.listings("tasks"))
def test_a_prediction_is_right_about_the_label_made_of_it(name: str) -> None:
    made = plugins.load("tasks", name)
    task = made(made.fixed_channels or 4)
    prediction = torch.rand(2, task.channels, 12, 14, generator=torch.Generator().manual_seed(0))
    prediction = prediction - 0.5 if issubclass(made, BinaryTask) else prediction
    label = task.as_label(prediction)
    assert label.dtype == (torch.uint8 if issubclass(made, (BinaryTask, ClassTask)) else torch.float32)
    metric = task.metric()
    metric.update(prediction, label)
    perfect = 100 if task.metrics[task.primary][1] else 0
    assert metric.compute()[task.primary] == pytest.approx(perfect, abs=1e-3)


def test_decoding_gives_classes_probabilities_and_unit_vectors() -> None:
    assert TASKS["semseg"](3).decode(torch.tensor([0.1, 5.0, 0.2]).view(1, 3, 1, 1)).item() == 1
    assert TASKS["semseg"](3).decode(torch.zeros(1, 3, 1, 1)).item() == 0
    assert TASKS["saliency"](1).decode(torch.zeros(1, 1, 1, 1)).item() == 0.5
    assert TASKS["depth"](1).decode(torch.full((1, 1, 1, 1), 2.5)).item() == 2.5
    unit = TASKS["normals"](3).decode(torch.tensor([0.0, 3.0, 4.0]).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(unit, torch.tensor([0.0, 0.6, 0.8]))


def test_normals_and_grey_are_drawn_by_their_formula() -> None:
    drawn = TASKS["normals"](3).render(np.array([[[1.0, -1.0, 0.2]]], dtype=np.float32))
    assert drawn.tolist() == [[[255, 0, 153]]]
    assert TASKS["saliency"](1).render(np.array([[0, 1]], dtype=np.uint8))[0, :, 0].tolist() == [0, 255]
    assert TASKS["edges"](1).render(np.array([[0.2, 1.0]], dtype=np.float32))[0, :, 0].tolist() == [51, 255]


@pytest.mark.parametrize("name", [name for name in CHANNELS if name != "synthetic"])
def test_pixels_without_truth_are_hatched(name: str) -> None:
    missing = {"normals": np.zeros((8, 8, 3), np.float32), "depth": np.zeros((8, 8), np.float32)}
    drawn = TASKS[name](CHANNELS[name]).render(missing.get(name, np.full((8, 8), 255, np.uint8)))
    assert set(np.unique(drawn)) == {215, 255}


def test_colours_of_classes_differ_and_begin_dark() -> None:
    drawn = draw_classes(np.arange(42)[None], ignored=255)[0]
    assert len({tuple(colour) for colour in drawn.tolist()}) == 42
    assert drawn[0].max() < 60
    distances = np.linalg.norm(PALETTE[:, None].astype(float) - PALETTE[None], axis=-1)
    assert distances[np.triu_indices(len(PALETTE), 1)].min() > 40


def test_scale_of_depth_rises_in_lightness_and_clips() -> None:
    values = np.array([[-1.0, *np.linspace(0, 1, 33), 7.0, np.nan]])
    drawn = draw_scalar(values, np.zeros(values.shape, bool))[0]
    lightness = drawn[1:-2] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert drawn[[0, -2, -1]].tolist() == VIRIDIS[[0, -1, 0]].tolist()


@pytest.mark.parametrize("name", CHANNELS)
def test_trivial_predictor_beats_random_ones(name: str) -> None:
    channels = CHANNELS[name]
    trivial = TASKS[name](channels).trivial(once(labels_of(name, seed=1)))
    assert (trivial.shape, trivial.dtype) == ((channels, 6, 7), torch.float32)
    unseen = labels_of(name, seed=2)
    reached = score(name, trivial.expand(8, -1, -1, -1), unseen)
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        assert reached > score(name, torch.randn(8, channels, 6, 7, generator=generator), unseen)


@pytest.mark.parametrize("name", CHANNELS)
def test_trivial_predictor_does_not_depend_on_the_batches(name: str) -> None:
    task, label = TASKS[name](CHANNELS[name]), labels_of(name, seed=4)
    torch.testing.assert_close(task.trivial([label]), task.trivial(once(label)))


@pytest.mark.parametrize("name", CHANNELS)
def test_trivial_predictor_asks_for_labels_of_one_size(name: str) -> None:
    task, label = TASKS[name](CHANNELS[name]), labels_of(name, seed=5)
    with pytest.raises(ValueError, match="at least one batch"):
        task.trivial([])
    with pytest.raises(ValueError, match="one size"):
        task.trivial([label, label[..., :3]])


def test_trivial_class_is_the_most_frequent_and_scores_its_share() -> None:
    label = torch.tensor([[[0, 1, 1, 1, 1, 255, 255, 255, 255, 255]]], dtype=torch.uint8)
    trivial = TASKS["semseg"](2).trivial([label])
    assert trivial[:, 0, 0].tolist() == [0.0, 1.0]
    metric = TASKS["semseg"](2).metric()
    metric.update(trivial.unsqueeze(0), label)
    assert metric.compute()["miou"] == pytest.approx(100 * 0.8 / 2)


def test_trivial_depth_is_the_mean_of_each_pixel_or_of_all_where_none_is_valid() -> None:
    label = torch.tensor([[[1.0, 0.0, 4.0]], [[3.0, 0.0, 0.0]]])
    assert TASKS["depth"](1).trivial([label]).flatten().tolist() == pytest.approx([2.0, 8 / 3, 4.0])


def test_trivial_normal_is_the_direction_of_the_mean() -> None:
    label = torch.zeros(2, 3, 1, 3)
    label[0, 0, 0, 0], label[1, 1, 0, 0] = 1.0, 1.0
    label[0, 2, 0, 1], label[1, 2, 0, 1] = 1.0, -1.0
    trivial = TASKS["normals"](3).trivial([label])
    root = 0.5**0.5
    expected = [[root, root, 0.0], [0.0, 0.0, 1.0], [root, root, 0.0]]
    torch.testing.assert_close(trivial[:, 0].T, torch.tensor(expected))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_trivial_saliency_is_at_least_as_good_as_everywhere_and_nowhere(share: float) -> None:
    chance = torch.rand(8, 6, 7, generator=torch.Generator().manual_seed(6))
    label = (chance < share).to(torch.uint8)
    label[:3] = 0
    for name in ("saliency", "edges"):
        trivial = score(name, TASKS[name](1).trivial([label]).expand(8, -1, -1, -1), label)
        for logit in (-20.0, 20.0):
            assert trivial >= score(name, torch.full((8, 1, 6, 7), logit), label)


def test_trivial_saliency_of_equal_frequencies_still_offers_everywhere_and_nowhere() -> None:
    full, empty = torch.ones(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8)
    for label in (full, empty):
        trivial = TASKS["saliency"](1).trivial([label])
        assert score("saliency", trivial.unsqueeze(0), label) == 100.0
