"""Balancers against literal forms on two tasks, and what a step with each costs."""

import math

import pytest
import torch
from accelerate import Accelerator
from conftest import Noise, resolved
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from petl_bench import draws
from petl_bench.config import RunConfig
from petl_bench.engine.balancers import BALANCERS, Balancer, make_balancer, projected
from petl_bench.engine.batches import batches
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.train import Loop, train
from petl_bench.errors import UsageError
from petl_bench.measure.cost.objective import objective_of
from petl_bench.measure.cost.workload import training
from petl_bench.model import MultiTaskModel

WEIGHTS = {"semseg": 1.0, "normals": 10.0}
TASKS = tuple(WEIGHTS)


class Toy:
    """Two losses of two shared numbers: 3 (a - 1)^2 + b^2 and (a + b - 2)^2 / 2 + 1."""

    def __init__(self) -> None:
        self.shared = nn.Parameter(torch.tensor([0.5, -1.0], dtype=torch.float64))

    def losses(self) -> dict[str, Tensor]:
        a, b = self.shared
        return {"semseg": 3 * (a - 1) ** 2 + b**2, "normals": (a + b - 2) ** 2 / 2 + 1}

    def gradients(self) -> list[Tensor]:
        a, b = self.shared.tolist()
        return [
            torch.tensor([6 * (a - 1), 2 * b], dtype=torch.float64),
            torch.tensor([a + b - 2, a + b - 2], dtype=torch.float64),
        ]


def config_of(name: str, **settings: object) -> RunConfig:
    return resolved("vmt", TASKS, train={"balancer": {"name": name, **settings}})


def balancer_of(name: str, **settings: object) -> Balancer:
    config = config_of(name, **settings)
    return make_balancer(config, build(config), WEIGHTS).double()


def step(balancer: Balancer, toy: Toy, number: int = 1) -> Tensor:
    toy.shared.grad = None
    balancer.backward(toy.losses(), number, lambda loss: loss.backward())
    assert toy.shared.grad is not None
    return toy.shared.grad


def test_fixed_is_the_weighted_sum() -> None:
    toy = Toy()
    one, two = toy.gradients()
    torch.testing.assert_close(step(balancer_of("fixed"), toy), one + 10 * two)


def test_uncertainty_starts_as_fixed_and_follows_kendall() -> None:
    toy, balancer = Toy(), balancer_of("uncertainty")
    one, two = toy.gradients()
    torch.testing.assert_close(step(balancer, toy), one + 10 * two)
    (log_variance,) = balancer.parameters()
    losses = torch.stack(list(toy.losses().values())).detach()
    for loss, s, gradient in zip(losses, log_variance.detach(), log_variance.grad, strict=True):
        assert float(gradient) == pytest.approx(0.5 - 0.5 * math.exp(-float(s)) * float(loss))
    with torch.no_grad():
        log_variance.copy_(torch.tensor([0.3, -0.7]))
    torch.testing.assert_close(step(balancer, toy), math.exp(-0.3) / 2 * one + math.exp(0.7) / 2 * two)


def test_dwa_weighs_by_the_ratio_of_the_last_two_periods() -> None:
    toy, balancer = Toy(), balancer_of("dwa", period=2, temperature=2.0)
    means: list[list[float]] = []
    for number in range(4):
        values = [float(loss.detach()) for loss in toy.losses().values()]
        one, two = toy.gradients()
        torch.testing.assert_close(step(balancer, toy, number + 1), one + 10 * two)
        if number % 2 == 0:
            means.append(values)
        else:
            means[-1] = [(a + b) / 2 for a, b in zip(means[-1], values, strict=True)]
        with torch.no_grad():
            toy.shared += torch.tensor([0.1, 0.2])
    ratios = [last / before for before, last in zip(*means, strict=True)]
    powers = [math.exp(ratio / 2) for ratio in ratios]
    lambdas = [2 * power / sum(powers) for power in powers]
    assert lambdas[0] != pytest.approx(1.0, abs=1e-3)
    one, two = toy.gradients()
    torch.testing.assert_close(step(balancer, toy, 5), lambdas[0] * one + 10 * lambdas[1] * two)


def test_pcgrad_takes_away_what_points_against_another_task() -> None:
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    expected = (one - (one @ two) / (two @ two) * two) + (two - (two @ one) / (one @ one) * one)
    torch.testing.assert_close(projected([one, two], draws.generator(0, "any")), expected)
    agreeing = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(projected([one, agreeing], draws.generator(0, "any")), one + agreeing)


def test_pcgrad_of_a_model_projects_what_tasks_share_and_sums_the_rest() -> None:
    config = config_of("pcgrad")
    model, specs = build(config), task_specs(config)
    balancer = make_balancer(config, model, WEIGHTS)
    (batch,) = (next(iter(batches(Noise(config.dataset, "train", TASKS), config))),)

    def losses() -> dict[str, Tensor]:
        predictions = model(batch.images)
        return {task: specs[task].loss(predictions[task], batch.labels[task]) for task in TASKS}

    model.eval()
    balancer.backward(losses(), 1, lambda loss: loss.backward())
    owned = model.method.owned()
    shared = list(owned.shared.values())
    trained = [p for p in model.parameters() if p.requires_grad]
    ours = {id(p): None if p.grad is None else p.grad.clone() for p in trained}
    by_task: list[list[Tensor]] = []
    for task in TASKS:
        model.zero_grad()
        (WEIGHTS[task] * losses()[task]).backward()
        by_task.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in trained])
    one, two = (
        torch.cat([g.flatten() for p, g in zip(trained, own, strict=True) if any(p is s for s in shared)])
        for own in by_task
    )
    dot = one @ two
    expected = one + two
    if dot < 0:
        expected = expected - dot / (two @ two) * two - dot / (one @ one) * one
    got = torch.cat([ours[id(p)].flatten() for p in trained if any(p is s for s in shared)])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    for p, first, second in zip(trained, *by_task, strict=True):
        if not any(p is s for s in shared):
            torch.testing.assert_close(ours[id(p)], first + second, rtol=1e-4, atol=1e-6)


def test_famo_normalises_logarithms_and_moves_towards_what_fell_least() -> None:
    toy, balancer = Toy(), balancer_of("famo", learning_rate=0.1, weight_decay=0.0)
    losses = [float(loss.detach()) for loss in toy.losses().values()]
    weighted = [losses[0], 10 * losses[1]]
    one, two = toy.gradients()
    scale = 1 / (0.5 / weighted[0] + 0.5 / weighted[1])
    expected = scale * (0.5 * one / weighted[0] + 0.5 * 10 * two / weighted[1])
    torch.testing.assert_close(step(balancer, toy), expected, rtol=1e-6, atol=1e-6)
    after = {"semseg": torch.tensor(losses[0] * 0.5), "normals": torch.tensor(losses[1] * 0.99)}
    balancer.after_step(lambda: after)
    logits = dict(balancer.named_buffers())["logits"]
    assert logits[1] > 0 > logits[0]
    falls = [math.log(2), -math.log(0.99)]
    mean = sum(falls) / 2
    directions = [0.5 * (fall - mean) for fall in falls]  # the softmax's Jacobian at equal shares times the falls
    assert [float(x) for x in logits] == pytest.approx([-0.1 * math.copysign(1, d) for d in directions], rel=1e-4)


@pytest.mark.parametrize("name", BALANCERS)
def test_a_training_with_each_balancer_learns_and_reports_unweighted_losses(name: str) -> None:
    config = resolved("vmt", TASKS, train={"steps": 30, "batch_size": 4, "balancer": {"name": name}})
    model, specs = build(config), task_specs(config)
    data = Noise(config.dataset, "train", TASKS)
    first = next(iter(batches(data, config)))
    model.train()
    predictions = model(first.images)
    losses = {task: specs[task].loss(predictions[task], first.labels[task]).item() for task in TASKS}
    points: list[dict[str, float]] = []
    fresh = build(config)
    train(fresh, specs, data, config, Accelerator(cpu=True), lambda at: points.append(dict(at.losses)))
    assert points[0] == pytest.approx(losses, rel=1e-4)
    assert sum(p["semseg"] for p in points[-5:]) < sum(p["semseg"] for p in points[:5])


def macs_of_a_step(model: MultiTaskModel, config: RunConfig) -> int:
    specs = task_specs(config)
    loop = Loop(model, specs, config, Accelerator(cpu=True))
    batch = next(iter(batches(Noise(config.dataset, "train", config.tasks), config)))
    with FlopCounterMode(display=False) as counter:
        loop.take(batch)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", BALANCERS)
def test_the_step_that_is_measured_multiplies_as_often_as_that_of_a_run(name: str) -> None:
    config = config_of(name)
    model, image = build(config), torch.rand(4, 3, 32, 32)
    channels = {task: spec.channels for task, spec in task_specs(config).items()}
    measured = training(model, image, objective=objective_of(config, channels, model, image))
    with FlopCounterMode(display=False) as counter:
        measured(lambda part: None)
    assert counter.get_total_flops() // 2 == macs_of_a_step(model, config)


def test_pcgrad_costs_a_backward_pass_a_task_and_famo_one_more_forward_pass() -> None:
    cost = {name: macs_of_a_step(build(config_of(name)), config_of(name)) for name in BALANCERS}
    assert cost["fixed"] == cost["uncertainty"] == cost["dwa"]
    model = build(config_of("fixed"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(4, 3, 32, 32))
    forward = counter.get_total_flops() // 2
    assert cost["famo"] == cost["fixed"] + forward
    assert cost["fixed"] < cost["pcgrad"] < cost["fixed"] + (cost["fixed"] - forward)


def test_where_nothing_is_shared_pcgrad_is_one_backward_pass() -> None:
    fixed, projected_ = (
        resolved("decoders", TASKS, train={"balancer": {"name": name}}) for name in ("fixed", "pcgrad")
    )
    assert macs_of_a_step(build(fixed), fixed) == macs_of_a_step(build(projected_), projected_)


@pytest.mark.parametrize("name", ["pcgrad", "famo"])
def test_a_balancer_that_reads_gradients_says_where_it_cannot_work(name: str) -> None:
    config = config_of(name)
    with pytest.raises(UsageError, match=f"train.balancer.name = {name}"):
        make_balancer(config, build(config), WEIGHTS, processes=2)
