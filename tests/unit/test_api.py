"""Five lines of Python: a model on a network of one's own, a file that refuses another one, names without imports."""

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

import petl_bench
from petl_bench import UsageError, plugins

TASKS = {"semseg": 5, "normals": 3}


def swin(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    sizes = {"img_size": 64, "window_size": 4, "embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)}
    return timm.create_model("swin_tiny_patch4_window7_224", **sizes)


def vit(seed: int = 0, depth: int = 4) -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("vit_tiny_patch16_224", img_size=64, embed_dim=32, depth=depth, num_heads=2)


NETWORKS = {"swin": swin, "vit": vit}


def created(backbone: object, method: str = "vmt", **settings: object):
    settings = {"decoder": {"name": "segformer", "width": 16}, "tasks": TASKS} | settings
    return petl_bench.create_model(method, backbone=backbone, **settings)


def trained_a_little(model) -> None:
    optimizer = torch.optim.AdamW(model.trained_parameters(), lr=1e-2)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        predictions = model.train()(torch.rand(2, 3, 64, 64, generator=generator))
        sum(prediction.square().mean() for prediction in predictions.values()).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("family", NETWORKS)
@pytest.mark.parametrize("method", ["vmt", "bitfit", "single"])
def test_a_model_trained_on_a_network_of_ones_own_comes_back_from_its_file(method: str, family: str, tmp_path) -> None:
    network = NETWORKS[family]()
    model = created(network, method)
    trained_a_little(model)
    petl_bench.save(model, tmp_path / "model.safetensors")
    again = petl_bench.load(tmp_path / "model.safetensors", backbone=network)
    images = torch.rand(2, 3, 64, 64)
    expected, predictions = model.eval()(images), again.eval()(images)
    assert {task: map_.shape for task, map_ in predictions.items()} == {
        "semseg": (2, 5, 64, 64),
        "normals": (2, 3, 64, 64),
    }
    for task in TASKS:
        torch.testing.assert_close(predictions[task], expected[task], rtol=0, atol=0)
    untrained = created(network, method).eval()(images)
    assert not torch.equal(untrained["semseg"], expected["semseg"])


def test_the_network_given_is_not_changed() -> None:
    network = swin()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trained_a_little(created(network, "full"))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_count_and_trained_parameters_agree() -> None:
    model = created(swin())
    ledger = petl_bench.count(model)
    assert sum(parameter.numel() for parameter in model.trained_parameters()) == ledger.trainable
    assert ledger.per_task > 0


def test_settings_reach_the_method() -> None:
    counts = [petl_bench.count(created(swin(), rho=rho)).shared for rho in (4, 8)]
    assert counts[0] > counts[1]


def test_load_refuses_the_same_network_with_other_weights(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    petl_bench.save(created(swin()), path)
    with pytest.raises(UsageError, match=r"trained on swin_tiny_patch4_window7_224 .*has other weights"):
        petl_bench.load(path, backbone=swin(seed=1))


@pytest.mark.parametrize("other", [lambda: vit(), lambda: vit(depth=8)])
def test_load_refuses_another_network(other, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    petl_bench.save(created(swin()), path)
    with pytest.raises(UsageError, match=r"the one given is vit_tiny_patch16_224 with .* parameters: another network"):
        petl_bench.load(path, backbone=other())


def test_one_changed_weight_is_another_backbone(tmp_path) -> None:
    path, network = tmp_path / "model.safetensors", swin()
    petl_bench.save(created(network), path)
    with torch.no_grad():
        network.layers[3].blocks[0].mlp.fc2.weight[0, 0] += 1e-3
    with pytest.raises(UsageError, match="other weights"):
        petl_bench.load(path, backbone=network)


def test_weights_that_the_method_trains_may_differ_since_they_are_in_the_file(tmp_path) -> None:
    path, network = tmp_path / "model.safetensors", swin()
    model = created(network, "full")
    petl_bench.save(model, path)
    again, images = petl_bench.load(path, backbone=swin(seed=1)), torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again.eval()(images), model.eval()(images), rtol=0, atol=0)


def test_a_backbone_by_name_is_found_again_by_the_file_alone(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    model = created("embedded")
    trained_a_little(model)
    petl_bench.save(model, path)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(petl_bench.load(path).eval()(images), model.eval()(images), rtol=0, atol=0)
    with pytest.raises(UsageError, match="other weights"):
        petl_bench.load(path, weights="random")


def test_a_file_without_a_name_says_what_to_give(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    petl_bench.save(created(swin()), path)
    with pytest.raises(UsageError, match=r"petl_bench\.load\(path, backbone="):
        petl_bench.load(path)


def test_save_replaces_its_own_file_and_no_other(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    model = created(swin())
    petl_bench.save(model, path)
    petl_bench.save(model, path)
    path.write_bytes(b"somebody's")
    with pytest.raises(UsageError, match="left as it is"):
        petl_bench.save(model, path)
    assert path.read_bytes() == b"somebody's"
    with pytest.raises(UsageError, match="cannot be read"):
        petl_bench.load(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_normalisation_comes_from_the_network_or_is_given() -> None:
    def mean(**settings: object) -> list[float]:
        return created(vit(), **settings).method.backbone.mean.flatten().tolist()

    assert mean() == [0.5] * 3
    numbers = {"mean": [0.25, 0.5, 0.75], "std": [0.5, 0.5, 0.5]}
    assert mean(normalisation=numbers) == numbers["mean"]
    plain = vit()
    del plain.pretrained_cfg
    with pytest.raises(UsageError, match="does not say how its images are normalised"):
        created(plain)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"method": "vtm"}, "Did you mean 'vmt'"),
        ({"rh": 4}, r"Did you mean 'method\.rho'"),
        ({"rho": "4"}, r"method\.rho"),
        ({"decoder": "segfomer"}, "Did you mean 'segformer'"),
        ({"decoder": {"name": "segformer", "wdth": 8}}, r"Did you mean 'decoder\.width'"),
        ({"tasks": {}}, "output channels by task"),
        ({"tasks": {"a.b": 3}}, "cannot name a task"),
        ({"tasks": {"keys": 3}}, "cannot name a task"),
        ({"tasks": {"semseg": 0}}, "from 1 up"),
        ({"weights": "random"}, "for a backbone by name"),
        ({"normalisation": "imagnet"}, r"backbone\.normalisation"),
        ({"backbone": "swin_tiny_patch4_window7_242"}, "Did you mean 'swin_tiny_patch4_window7_224'"),
        ({"backbone": torch.nn.Linear(2, 2)}, "is no backbone"),
    ],
)
def test_what_cannot_be_is_answered(given: dict, answer: str) -> None:
    with pytest.raises(UsageError, match=answer):
        created(**{"backbone": swin(), **given})


def test_no_setting_of_a_method_hides_behind_an_argument() -> None:
    arguments = petl_bench.create_model.__kwdefaults__.keys() | {"backbone", "tasks"}
    for name in petl_bench.METHODS:
        assert not arguments & petl_bench.METHODS[name].Config.model_fields.keys(), name


def test_names_are_listed_without_torch_and_loaded_when_looked_up() -> None:
    code = (
        "import sys, petl_bench as p\n"
        "assert 'lora' in p.METHODS and 'loar' not in p.METHODS and 'semseg' in list(p.TASKS), p.METHODS\n"
        "assert 'torch' not in sys.modules\n"
        "print(p.METHODS['lora'].__module__, p.DECODERS['segformer'].__name__, p.DATASETS['scenes'].name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "methods.lora SegFormer scenes\n", done.stderr


def test_a_method_of_a_notebook_is_a_name_like_any_other(monkeypatch) -> None:
    from petl_bench import method

    monkeypatch.setattr(method.METHODS, "_classes", dict(method.METHODS._classes))
    parent = petl_bench.METHODS["decoders"]

    @petl_bench.METHODS.register("of-a-notebook")
    class OfANotebook(parent):
        pass

    assert petl_bench.METHODS["of-a-notebook"] is OfANotebook
    assert "of-a-notebook" in petl_bench.METHODS
    assert created(swin(), "of-a-notebook").method.name == "of-a-notebook"
    with pytest.raises(UsageError, match="Did you mean 'lora'"):
        petl_bench.METHODS["loar"]
    assert "of-a-notebook" not in plugins.listings("methods")


def test_every_public_name_is_there() -> None:
    assert {name for name in petl_bench.__all__ if not hasattr(petl_bench, name)} == set()
    assert Path(petl_bench.__file__).parent.joinpath("py.typed").exists()


SMALL = {"backbone": {"name": "embedded", "weights": "random"}, "dataset": {"image_size": 32}}


def test_a_run_is_a_call_and_is_found_the_second_time(tmp_path, capsys) -> None:
    settings = {**SMALL, "tasks": ["semseg", "normals"], "budget": "smoke", "out": tmp_path / "runs"}
    settings |= {"decoder": {"width": 16}, "train": {"steps": 2}}
    record = petl_bench.run(method={"name": "vmt", "rho": 8}, **settings)
    assert record.status == "finished"
    assert set(record.metrics) == {"semseg", "normals"}
    assert record.config["method"]["rho"] == 8
    assert petl_bench.run(method={"name": "vmt", "rho": 8}, **settings) == record
    petl_bench.run(method="decoders", seed=1, **settings)
    assert capsys.readouterr().out == ""

    table = petl_bench.report(tmp_path / "runs")
    assert sorted(table.runs["method"]) == ["decoders", "vmt"]
    (frame,) = table.groups.values()
    vmt = frame[frame["method"] == "vmt"].iloc[0]
    assert vmt["semseg.miou.mean"] == record.metrics["semseg"].score
    assert len(table.table) == len(frame)
    assert not (tmp_path / "runs" / "report").exists()


def test_report_can_be_called_before_and_after_its_package_is_imported() -> None:
    code = (
        "import sys, petl_bench\nfirst = petl_bench.report\nimport petl_bench.report.load\n"
        "assert first is petl_bench.report and callable(first) and 'torch' not in sys.modules\n"
        "try:\n    petl_bench.report('nowhere')\nexcept petl_bench.UsageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("No run to report in 'nowhere'"), done.stderr


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"method": "vtm"}, "Did you mean 'vmt'"),
        ({"budget": "smok"}, "Did you mean 'smoke'"),
        ({"tasks": 17}, "1 to 16 are allowed"),
        ({"tasks": ["semsge"]}, "Did you mean 'semseg'"),
        ({"trian": {"steps": 2}}, "Did you mean 'train'"),
    ],
)
def test_what_cannot_be_run_is_answered(given: dict, answer: str, tmp_path) -> None:
    with pytest.raises(UsageError, match=answer):
        petl_bench.run(**{"method": "vmt", "out": tmp_path / "runs", **SMALL, **given})
    assert not (tmp_path / "runs").exists()
