"""`pascal-context` on small trees in the real formats, odd cases among them; expected arrays by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from trees import COLUMNS, LABEL_MAP, ROWS, box, classes_of, write_lines, write_parts, write_pascal, write_png

from petl_bench.data.pascal_context import PARTS, SHARED_WITH_NYU, PascalContext
from petl_bench.errors import UsageError

TASKS = tuple(PascalContext.tasks)
SIZE = (ROWS, COLUMNS)


def config(**changes: object) -> PascalContext.Config:
    made = PascalContext.Config(name="pascal-context", image_size=32, train_images=100, test_images=100)
    return made.model_copy(update=changes)


def opened(root: Path, split: str = "train", tasks: tuple[str, ...] = TASKS, **changes: object) -> PascalContext:
    return PascalContext(config(**changes), split, tasks, root=root)


def test_every_task_is_read_from_its_own_format(tmp_path: Path) -> None:
    labels = opened(write_pascal(tmp_path)).native(0).labels
    assert (labels["semseg"][0] == 255).all()
    assert (labels["semseg"][1:] == classes_of(0)[1:]).all()

    parts = np.zeros(SIZE, dtype=np.uint8)
    parts[2:6, 4:8] = 1  # the head
    parts[5:13, 3:9] = 2  # the torso, written later, covers its lower row
    parts[6:10, 3:5] = 4  # the lower left arm
    assert (labels["human_parts"] == parts).all()

    assert (labels["saliency"] == (classes_of(0) == 1)).all()  # 128 is, 127 is not

    x, yz = 1.0, 2 * 128 / 255 - 1
    direction = np.array([x, -yz, yz]) / np.sqrt(x * x + 2 * yz * yz)  # y points down in the files, up here
    assert (labels["normals"][:, :16] == 0).all()  # no room has a cow
    np.testing.assert_allclose(labels["normals"][:, 16:], np.broadcast_to(direction, (ROWS, 16, 3)), atol=1e-6)

    edges = labels["edges"]
    assert set(np.unique(edges)) == {0, 1}
    # The wall ends at column 16, its lower half, a television, begins at row 12: one line down, one to the right.
    assert (edges[1:11].sum(1) == 1).all()
    assert (edges[14:-1].sum(1) == 1).all()
    assert (edges[11:13, 20:-1].sum(0) == 1).all()
    assert edges[:, :14].sum() == 0


def test_the_line_between_two_classes_is_thinned_to_one_pixel(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    labels = np.full((6, 8), 1, dtype=np.uint16)
    labels[:, 4:] = 2
    scipy.io.savemat(root / "pascal-context" / "trainval" / "2008_000001.mat", {"LabelMap": labels})
    source = PascalContext.look(root).labels["edges"]
    edges = source.read(source.files["2008_000001"])
    # Both columns beside the line have a Laplacian; thinning takes one away, and an end of the line.
    assert edges.sum(1).tolist() == [0, 1, 1, 1, 1, 1]
    assert edges[:, 3].sum() == 5


def test_an_image_without_parts_has_no_truth_of_the_size_of_the_image(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    parts = opened(root).native(1).labels["human_parts"]
    assert parts.shape == SIZE
    assert (parts == 255).all()
    write_parts(root / "human_parts" / "2008_000002.mat", [{}], SIZE)  # somebody, of whom no part is marked
    assert (opened(root).native(1).labels["human_parts"] == 255).all()
    assert opened(root, tasks=("human_parts",)).ids == ("2008_000001", "2008_000002")


def test_parts_and_maps_of_another_size_are_brought_to_that_of_the_image(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    write_parts(root / "human_parts" / "2008_000001.mat", [{"hair": box((12, 16), 0, 0, 6, 8)}], (12, 16))
    labels = np.full((12, 16), LABEL_MAP["sofa"], dtype=np.uint16)
    labels[:6] = LABEL_MAP["cow"]
    scipy.io.savemat(root / "pascal-context" / "trainval" / "2008_000001.mat", {"LabelMap": labels})
    seen = opened(root).native(0).labels
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[:12, :16] = 1
    assert (seen["human_parts"] == expected).all()
    assert (seen["normals"][:12] == 0).all()
    assert (np.abs(np.linalg.norm(seen["normals"][12:], axis=-1) - 1) < 1e-6).all()
    assert seen["edges"].shape == SIZE


def test_voc_classes_are_preferred_and_the_other_folder_fills_in(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    other = root / "semseg" / "pascal-context"
    write_png(other / "2008_000001.png", np.full(SIZE, 7, dtype=np.uint8), palette=True)
    assert (opened(root).native(0).labels["semseg"][1:] == classes_of(0)[1:]).all()
    (root / "semseg" / "VOC12" / "2008_000001.png").unlink()
    assert (opened(root).native(0).labels["semseg"] == 7).all()


def test_255_everywhere_is_a_label_without_truth(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    write_png(root / "semseg" / "VOC12" / "2008_000001.png", np.full(SIZE, 255, dtype=np.uint8))
    assert (opened(root).batch([0]).labels["semseg"] == 255).all()


@pytest.mark.parametrize(
    ("task", "needless"),
    [
        ("semseg", ("human_parts", "sal_distill", "normals_distill", "pascal-context")),
        ("human_parts", ("semseg", "sal_distill", "normals_distill", "pascal-context")),
        ("saliency", ("semseg", "human_parts", "normals_distill", "pascal-context")),
        ("normals", ("semseg", "human_parts", "sal_distill")),
        ("edges", ("semseg", "human_parts", "sal_distill", "normals_distill")),
    ],
)
def test_folders_of_other_tasks_are_not_needed(task: str, needless: tuple[str, ...], tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    known = PascalContext.content_hash(config(), root=root, tasks=(task,))
    for folder in needless:
        shutil.rmtree(root / folder)
    assert opened(root, tasks=(task,)).batch([0, 1]).images.shape == (2, 3, 32, 32)
    assert PascalContext.content_hash(config(), root=root, tasks=(task,)) == known


def test_normals_need_the_label_map_and_say_so(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    shutil.rmtree(root / "pascal-context")
    with pytest.raises(UsageError, match="Not one of 2 images has a label of 'normals'"):
        opened(root, tasks=("normals",))


def test_lists_with_blank_lines_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    write_lines(root / "ImageSets" / "Context" / "train.txt", ["2008_000001", "", "2008_000002", ""], end="\r\n")
    assert opened(root).ids == ("2008_000001", "2008_000002")


def test_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    for path in [*root.rglob("*.jpg"), *root.rglob("*.png"), *root.rglob("*.mat")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    assert len(opened(root).batch([0, 1]).labels) == len(TASKS)


@pytest.mark.parametrize(
    "name", ["semseg/VOC12/2008_000001.png", "human_parts/2008_000001.mat", "JPEGImages/2008_000001.jpg"]
)
def test_a_truncated_file_is_named(name: str, tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=f"{Path(name).name}' cannot be read"):
        opened(root).batch([0])


def test_an_unknown_part_is_an_error_and_not_background(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    write_parts(root / "human_parts" / "2008_000001.mat", [{"tail": box(SIZE, 0, 0, 2, 2)}], SIZE)
    with pytest.raises(UsageError, match="a part 'tail'"):
        opened(root).native(0)


def test_every_part_of_a_person_is_in_one_group() -> None:
    names = [name for group in PARTS.values() for name in group]
    assert len(names) == len(set(names)) == 24
    assert sorted(PARTS) == [1, 2, 3, 4, 5, 6]


def test_classes_that_normals_are_believed_on_are_those_of_both_lists() -> None:
    assert len(SHARED_WITH_NYU) == len(set(SHARED_WITH_NYU)) == 170
    assert {LABEL_MAP["sofa"], LABEL_MAP["wall"], LABEL_MAP["tvmonitor"]} <= set(SHARED_WITH_NYU)
    named = {"air conditioner": 3, "bicycle": 23, "chair": 72, "person": 284, "table": 397, "window": 454, "wire": 457}
    assert set(named.values()) <= set(SHARED_WITH_NYU)
    outdoors = {"aeroplane": 2, "bus": 45, "grass": 187, "road": 324, "sky": 360, "tree": 420, "water": 445}
    assert not set(outdoors.values()) & set(SHARED_WITH_NYU)
    assert not {LABEL_MAP["cow"], 431} & set(SHARED_WITH_NYU)  # 431 is "unknown"
    assert list(SHARED_WITH_NYU) == sorted(SHARED_WITH_NYU)


def test_a_person_that_the_crop_lost_is_ignored_in_the_published_protocols_alone(tmp_path: Path) -> None:
    root = write_pascal(tmp_path)
    people = {"head": box(SIZE, 0, 0, 1, 1)}
    write_parts(root / "human_parts" / "2008_000001.mat", [people], SIZE)

    def lost(protocol: str) -> int:
        dataset = opened(root, tasks=("human_parts",), protocol=protocol)
        batch = dataset.augmented([0] * 40, range(40), config())
        without = [one for one in batch.labels["human_parts"] if not ((one > 0) & (one < 255)).any()]
        return sum(bool((one == 255).all()) for one in without)

    assert lost("ours") == 0
    assert lost("mtl") > 0
    assert lost("atrc") > 0
