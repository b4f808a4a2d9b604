"""The procedural pictures: the same bits everywhere, and labels that mean what they say."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from petl_bench.data.scenes import CONTENT_HASH, LABELS, PART_NAMES, SCENES_VERSION, SEMSEG_CLASSES, Picture, render
from petl_bench.data.scenes.arithmetic import Stream, cos, sin
from petl_bench.data.scenes.digests import digests
from petl_bench.data.scenes.labels import FIRST_OBJECT
from petl_bench.data.scenes.render import render_many

# Made by `python -m petl_bench.data.scenes --digests`. They may change with SCENES_VERSION alone.
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "scenes.json").read_text(encoding="utf-8"))


def digest(picture: Picture) -> str:
    sha = hashlib.sha256(picture.image.tobytes())
    for name, label in picture.labels.items():
        sha.update(name.encode())
        sha.update(label.tobytes())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def target() -> list[Picture]:
    return [render("target", "train", index, 64) for index in range(64)]


@pytest.fixture(scope="module")
def source() -> list[Picture]:
    return [render("source", "train", index, 64) for index in range(32)]


def of(pictures: list[Picture], label: str) -> np.ndarray:
    return np.stack([picture.labels[label] for picture in pictures])


def test_pixels_and_labels_move_with_the_version_alone():
    moved = [
        f"{split}/{name}"
        for split, of_split in digests().items()
        for name, value in of_split.items()
        if GOLDEN.get(split, {}).get(name) != value
    ]
    assert not moved, (
        f"{moved} are not those of version {SCENES_VERSION}. If that is on purpose, raise SCENES_VERSION and type: "
        "python -m petl_bench.data.scenes --digests > tests/golden/scenes.json"
    )
    assert len(GOLDEN) == 12


@pytest.mark.parametrize(
    ("name", "version"), [("image", "1"), ("semseg", "1"), ("depth", "1"), ("layout", "1/further/1")]
)
def test_one_bit_of_one_label_moves_its_digest(name, version, monkeypatch):
    def one_bit_off(*key):
        picture = render(*key)
        if key[:3] == ("target", "val", 5):
            array = picture.image if name == "image" else picture.labels[name]
            array.reshape(-1).view(np.uint8)[-1] ^= 1
        return picture

    monkeypatch.setattr("petl_bench.data.scenes.digests.render", one_bit_off)
    moved = [(s, n) for s, each in digests().items() for n, value in each.items() if GOLDEN[s][n] != value]
    assert moved == [(f"scenes/{version}/target/val", name)]


def test_the_content_hash_is_the_version_and_reads_no_source():
    assert f"scenes/{SCENES_VERSION}" == CONTENT_HASH


def test_pictures_do_not_depend_on_cpu_features():
    from numpy._core._multiarray_umath import __cpu_dispatch__

    code = (
        "import hashlib\n"
        "from petl_bench.data.scenes import FURTHER, LABELS, render\n"
        "sha = hashlib.sha256()\n"
        "keys = [(domain, 'train', index, 48) for domain in ('source', 'target') for index in range(6)]\n"
        "for picture in [render(*key, [*LABELS[key[0]], *FURTHER]) for key in keys]:\n"
        "    for array in (picture.image, *picture.labels.values()):\n"
        "        sha.update(array.tobytes())\n"
        "print(sha.hexdigest())"
    )
    hashes = set()
    for disabled in ("", " ".join(__cpu_dispatch__)):
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
        command = [sys.executable, "-W", "ignore", "-c", code]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        hashes.add(run.stdout)
    assert len(hashes) == 1


def test_pictures_do_not_depend_on_order():
    forwards = [digest(render("target", "val", index, 32)) for index in (0, 1, 2)]
    backwards = [digest(picture) for picture in render_many("target", "val", (2, 1, 0), 32)]
    assert forwards == backwards[::-1]


def test_keys_give_different_pictures():
    keys = [(d, s, i) for d in ("source", "target") for s in ("train", "val", "test") for i in range(4)]
    assert len({render(*key, 16).image.tobytes() for key in keys}) == len(keys)


def test_size_changes_the_resolution_and_not_the_room():
    coarse, fine = (render("target", "train", 5, size).labels["depth"].astype(np.float64) for size in (32, 96))
    same = np.abs(coarse - fine[1::3, 1::3]) < 0.002 * coarse
    assert same.mean() > 0.995


@pytest.mark.parametrize("domain", ["source", "target"])
def test_arrays_match_their_specification(domain):
    picture = render(domain, "val", 3, 40)
    assert picture.image.shape == (40, 40, 3)
    assert picture.image.dtype == np.uint8
    assert list(picture.labels) == list(LABELS[domain])
    for name, (dtype, trailing) in LABELS[domain].items():
        assert picture.labels[name].dtype == np.dtype(dtype)
        assert picture.labels[name].shape == (40, 40, *trailing)


def test_source_pictures_carry_no_headline_label():
    assert set(LABELS["source"]) == {"depth", "edges"}


def test_every_class_is_frequent_enough_to_learn(target):
    counts = np.bincount(of(target, "semseg").reshape(-1), minlength=len(SEMSEG_CLASSES))
    assert counts.size == len(SEMSEG_CLASSES) == 13
    shares = counts / counts.sum()
    assert dict(zip(SEMSEG_CLASSES, shares > 0.007, strict=True)) == dict.fromkeys(SEMSEG_CLASSES, True)


def test_people_cover_a_tenth_of_the_pixels(target):
    person = of(target, "semseg") == SEMSEG_CLASSES.index("person")
    assert person.mean() > 0.10
    assert (person.mean(axis=(1, 2)) > 0.002).mean() > 0.9


def test_parts_lie_on_people_and_every_part_occurs(target):
    person, parts = of(target, "semseg") == SEMSEG_CLASSES.index("person"), of(target, "human_parts")
    assert np.array_equal(person, parts > 0)
    shares = np.bincount(parts.reshape(-1), minlength=len(PART_NAMES)) / parts.size
    assert shares.size == len(PART_NAMES) == 7
    assert shares.min() > 0.007


def test_normals_are_unit_vectors_that_face_the_camera(target):
    normals = of(target, "normals").astype(np.float64)
    assert np.abs((normals * normals).sum(axis=-1) - 1.0).max() < 5e-3
    floor = of(target, "semseg") == SEMSEG_CLASSES.index("floor")
    assert normals[floor][:, 1].min() > 0.9
    assert normals[floor][:, 2].min() > -0.01


def test_depth_is_positive_and_finite(target, source):
    for pictures in (target, source):
        depth = of(pictures, "depth").astype(np.float64)
        assert np.isfinite(depth).all()
        assert depth.min() > 0.1
        assert depth.max() < 15.0


def test_saliency_is_a_moderate_share_of_whole_objects(target):
    salient = of(target, "saliency")
    assert set(np.unique(salient)) == {0, 1}
    assert 0.10 < salient.mean() < 0.25
    semseg = of(target, "semseg")
    assert not (salient.astype(bool) & (semseg < SEMSEG_CLASSES.index("table"))).any()
    assert FIRST_OBJECT == 6


@pytest.mark.parametrize("domain", ["source", "target"])
def test_edges_are_thin_and_follow_class_boundaries(domain, target, source):
    edges = of(target if domain == "target" else source, "edges")
    assert set(np.unique(edges)) == {0, 1}
    assert 0.05 < edges.mean() < 0.25
    if domain == "target":
        semseg = of(target, "semseg")
        assert edges[:, :, :-1][semseg[:, :, :-1] != semseg[:, :, 1:]].all()


def test_pictures_are_neither_black_nor_blown_out(target, source):
    for pictures in (target, source):
        images = np.stack([picture.image for picture in pictures])
        assert images.reshape(len(images), -1).mean(axis=1).min() > 40
        assert (images > 252).mean() < 0.02


def test_bad_keys_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="source, target"):
        render("nowhere", "train", 0, 64)
    with pytest.raises(ValueError, match="train, val, test"):
        render("target", "holdout", 0, 64)
    with pytest.raises(ValueError, match="0 or more"):
        render("target", "train", -1, 64)
    with pytest.raises(ValueError, match="pixels"):
        render("target", "train", 0, 4)


def test_polynomial_sine_and_cosine_are_close_to_the_true_ones():
    x = np.linspace(-20.0, 20.0, 2001)
    assert np.abs(np.array([sin(float(v)) for v in x]) - np.sin(x)).max() < 1e-7
    assert np.abs(np.array([cos(float(v)) for v in x]) - np.cos(x)).max() < 1e-7


def test_streams_are_uniform_and_keyed():
    stream = Stream(1, 2, 3)
    values = np.array([stream.uniform(0.0, 1.0) for _ in range(4000)])
    assert abs(values.mean() - 0.5) < 0.02
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert Stream(1, 2, 3).raw() == Stream(1, 2, 3).raw() != Stream(1, 2, 4).raw()
