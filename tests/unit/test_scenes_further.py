"""The ten further labels, on rooms built by hand with values worked out by hand, and on the pictures themselves."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from petl_bench.data.batch import Batch, to_batch
from petl_bench.data.geometry import View, mirror
from petl_bench.data.scenes import FURTHER, LABELS, SUBSTANCES, cached_split, render
from petl_bench.data.scenes import cache as scenes_cache
from petl_bench.data.scenes.gbuffer import GBuffer
from petl_bench.data.scenes.labels import make_labels
from petl_bench.data.scenes.palettes import material
from petl_bench.data.scenes.primitives import SceneBuilder, Vector
from petl_bench.data.scenes.render import look
from petl_bench.data.scenes.room import Room
from petl_bench.data.scenes.shade import Light, Sensor
from petl_bench.data.scenes.sheet import contact_sheet
from petl_bench.data.scenes.views import Camera
from petl_bench.data.transforms import flip

SIZE = 64
HALF_X, HEIGHT, HALF_Z = 2.0, 2.5, 3.0
EYE = (0.0, 1.25, -2.0)
QUARTER = 1.5707963267948966
FLOOR, CEILING, FRONT, LEFT, RIGHT = range(5)
Build = Callable[[SceneBuilder], None]


def of(substance: str, colour: Vector = (0.5, 0.5, 0.5)):
    """A surface of one colour: texture mixes the colour with itself."""

    class Seed:
        def integer(self, low: int, high: int) -> int:
            return 0

    return material(Seed(), "plain", 0.3, colour, colour, of=substance)  # pyright: ignore[reportArgumentType]


def seen(
    build: Build = lambda b: None, *, lights: tuple[Light, ...] = (), ambient: float = 1.0, yaw: float = 0.0
) -> GBuffer:
    b = SceneBuilder(HALF_X, HALF_Z, HEIGHT)
    names = ("paint", "paint", "wood", "paint", "masonry", "masonry")
    b.faces([of(name) for name in names], [0, 0, 1, 2, 0, 0])
    build(b)
    camera = Camera(EYE, yaw, 0.0, QUARTER)  # a field of view of 90 degrees: pixels lie 1/32 apart at distance 1
    sensor = Sensor((ambient, ambient, ambient), 1.0, 0.0, 0.0)
    room = Room(b.pack(), camera, list(lights), sensor, HEIGHT, HALF_X, HALF_Z)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return look(room, SIZE, 0)[0]


def label(name: str, g: GBuffer) -> np.ndarray:
    return make_labels([name], g)[name]


def rays() -> tuple[np.ndarray, np.ndarray]:
    """How far right and up of the optical axis each pixel looks, at distance 1."""
    across = (np.arange(SIZE) - 31.5) / 32
    return np.broadcast_to(across, (SIZE, SIZE)), np.broadcast_to(-across[:, None], (SIZE, SIZE))


def planes() -> np.ndarray:
    """The distances along the axis of the five planes that the camera looks at."""
    u, v = rays()
    aside, above = HALF_X / np.abs(u), 1.25 / np.abs(v)
    infinite = np.full(u.shape, np.inf)
    return np.stack(
        [
            np.where(v < 0, above, infinite),
            np.where(v > 0, above, infinite),
            np.full(u.shape, 5.0),
            np.where(u < 0, aside, infinite),
            np.where(u > 0, aside, infinite),
        ]
    )


def cabinet(b: SceneBuilder) -> None:
    """A box of wood that fills the view from -0.5 to 0.5 at distance 2, hiding the floor and the wall behind it."""
    with b.thing(5, 0.0, 0.0, 0.0, 0.0):
        b.box((0.0, 1.0, 0.5), (1.0, 1.0, 0.5), of("wood", (0.8, 0.4, 0.2)))


def test_layout_is_the_plane_of_the_empty_room_behind_everything():
    expected = planes().argmin(axis=0)
    assert np.array_equal(label("layout", seen()), expected)
    assert np.array_equal(label("layout", seen(cabinet)), expected)


def test_turned_about_the_walls_change_their_names():
    turned = label("layout", seen(yaw=QUARTER))  # towards +x, two metres away; the wall at -z, one metre to the right
    assert np.array_equal(turned[32], np.where(rays()[0][32] < 0.5, FRONT, RIGHT))
    assert set(np.unique(turned)) == {FLOOR, CEILING, FRONT, RIGHT}


def test_orientation_is_the_axis_that_a_surface_faces():
    faces = {FLOOR: 0, CEILING: 1, FRONT: 2, LEFT: 4, RIGHT: 3}  # the wall on the left faces right
    expected = np.vectorize(faces.get)(planes().argmin(axis=0))
    assert np.array_equal(label("orientation", seen()), expected)


def test_height_is_measured_from_the_camera():
    _, v = rays()
    metres = label("height", seen()).astype(np.float64)
    assert np.abs(metres - v * planes().min(axis=0)).max() < 2e-3
    assert np.abs(metres[-1] + 1.25).max() < 1e-3


def test_material_and_albedo_are_those_of_the_surface():
    g = seen(cabinet)
    substance, colour = label("material", g), label("albedo", g).astype(np.float64)
    assert SUBSTANCES[substance[32, 32]] == "wood"
    assert np.abs(colour[32, 32] - (0.64, 0.16, 0.04)).max() < 1e-3  # linear: the square of the display colour
    assert SUBSTANCES[substance[0, 32]] == "paint"
    assert np.abs(colour[0, 32] - 0.25).max() < 1e-3
    assert SUBSTANCES[label("material", seen())[32, 32]] == "masonry"


def test_shading_of_the_middle_of_the_floor_is_one_light_and_seven_tenths_of_the_ambience():
    above = Light((0.0, 5.0, 0.0), (1.0, 1.0, 1.0))
    g = seen(lights=(above,), ambient=0.4)
    shade = label("shading", g).astype(np.float64)
    x, z = g.hits.position[0].reshape(SIZE, SIZE), g.hits.position[2].reshape(SIZE, SIZE)
    middle = (label("layout", g) == FLOOR) & (np.hypot(x, z) < 0.1)
    assert middle.any()
    assert np.abs(shade[middle] - (1.0 + 0.7 * 0.4)).max() < 5e-3
    assert np.abs(label("shading", seen(ambient=0.4)).astype(np.float64)[middle] - 0.28).max() < 1e-3


def test_shadow_is_what_a_board_hides_and_what_faces_away():
    def board(b: SceneBuilder) -> None:
        with b.thing(3, 0.0, 0.0, 0.0, 0.0):
            b.box((0.0, 1.0, 0.0), (0.5, 0.1, 0.5), of("wood"))

    g = seen(board, lights=(Light((0.0, 5.0, 0.0), (1.0, 1.0, 1.0)),))
    dark, where = label("shadow", g).astype(bool), label("orientation", g)
    x, y, z = g.hits.position.reshape(3, SIZE, SIZE)
    floor = (g.instance == 2) & (np.abs(y) < 1e-4)
    # The upper edges of the board, 3.9 m below the light, throw the outermost shadow: 0.5 * 5 / 3.9 from the middle.
    reach = np.maximum(np.abs(x), np.abs(z))
    assert dark[floor & (reach < 0.63)].all()
    assert (floor & (reach < 0.63)).any()
    assert not dark[floor & (reach > 0.65)].any()
    assert dark[where == 1].all()  # the ceiling, and the board's lower side
    assert not dark[(where == 0) & (y > 1.0)].any()


def test_curvature_counts_the_curved_directions():
    def things(b: SceneBuilder) -> None:
        with b.thing(9, 0.0, 0.0, 0.0, 0.0):
            b.ellipsoid((0.0, 1.25, 0.0), (0.3, 0.2, 0.3), of("plastic"))
        with b.thing(9, 0.0, 0.0, 0.0, 0.0):
            b.frustum((1.0, 0.0, 0.0), (1.0, 0.5, 0.0), 0.3, 0.2, of("metal"))
        with b.thing(9, 0.0, 0.0, 0.0, 0.0):
            b.capsule((-1.0, 0.6, 0.0), (-1.0, 1.8, 0.0), 0.3, of("skin"))

    g = seen(things)
    bent = label("curvature", g)
    _, y, _ = g.hits.position.reshape(3, SIZE, SIZE)
    ball, cone, pill = (g.instance == first for first in (6, 7, 8))
    assert (bent[ball] == 2).all()
    assert (bent[cone & (y < 0.49)] == 1).all()
    assert (bent[cone & (y > 0.4999)] == 0).all()  # seen from above: its flat end
    assert (cone & (y > 0.4999)).any()
    assert (bent[pill & (y > 0.61) & (y < 1.79)] == 1).all()
    assert (bent[pill & ((y < 0.59) | (y > 1.81))] == 2).all()
    assert (bent[g.instance < 6] == 0).all()
    assert (label("curvature", seen(cabinet)) == 0).all()


def with_instances(instance: np.ndarray) -> GBuffer:
    """A G-buffer of nothing but instances."""
    return replace(seen(), instance=instance, depth=np.ones(instance.shape, dtype=np.float32))


def test_the_distance_to_the_boundary_grows_to_an_eighth_of_the_width():
    instance = np.zeros((16, 16), dtype=np.int64)
    instance[:, 8:] = 1
    row = [1, 1, 1, 1, 1, 1, 0.5, 0, 0, 0.5, 1, 1, 1, 1, 1, 1]  # pixels 7 and 8 are the boundary, 2 pixels are far
    assert np.array_equal(label("boundary_distance", with_instances(instance)), np.tile(row, (16, 1)))
    instance = np.zeros((32, 32), dtype=np.int64)
    instance[10, 10] = 7
    distance = label("boundary_distance", with_instances(instance)).astype(np.float64)
    assert distance[10, 10] == distance[10, 11] == distance[9, 10] == 0
    assert distance[12, 11] == pytest.approx(2**0.5 / 4, abs=1e-3)  # from (11, 10): one down, one to the right
    assert distance[9, 9] == 0.25
    assert (label("boundary_distance", with_instances(np.zeros((16, 16), dtype=np.int64))) == 1).all()


def test_a_centre_is_a_bump_as_large_as_its_object():
    instance = np.zeros((64, 64), dtype=np.int64)
    instance[20:24, 40:44] = 6  # 16 pixels around (21.5, 41.5)
    instance[50, 50:53] = 7  # three pixels: fewer than 4096 / 1024
    heat = label("centres", with_instances(instance)).astype(np.float64)
    assert heat[21, 41] == pytest.approx((1 - 0.5 * np.pi / 16) ** 2, abs=1e-3)
    assert heat[21, 43] == pytest.approx((1 - 2.5 * np.pi / 16) ** 2, abs=1e-3)
    assert heat[21, 44] == 0  # 6.5 * pi is more than 16
    assert np.count_nonzero(heat) == 16
    instance[20:24, 40:44] = 5  # a face of the room is no object
    assert not label("centres", with_instances(instance)).any()


def turned_room(sign: float) -> Build:
    """Things left and right, and the same seen in a mirror."""

    def build(b: SceneBuilder) -> None:
        with b.thing(5, 0.0, 0.0, 0.0, 0.0):
            b.box((sign * -0.9, 0.5, 0.3), (0.4, 0.5, 0.3), of("wood"))
        with b.thing(9, 0.0, 0.0, 0.0, 0.0):
            b.ellipsoid((sign * 0.7, 0.8, 0.5), (0.3, 0.3, 0.3), of("plastic"))

    return build


def test_a_flip_is_the_label_of_the_mirrored_room():
    def labels(sign: float) -> dict[str, torch.Tensor]:
        light = Light((sign * 1.5, 5.0, -1.0), (1.0, 1.0, 1.0))
        made = make_labels(FURTHER, seen(turned_room(sign), lights=(light,), yaw=sign * 0.2))
        images = np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8)
        return dict(to_batch(images, {name: array[None] for name, array in made.items()}).labels)

    here, there = labels(1.0), labels(-1.0)
    images = torch.zeros(1, 3, SIZE, SIZE)
    flipped = flip(Batch(images, here), torch.tensor([True])).labels
    view = View(images[0], {name: array[0] for name, array in here.items()}, {name: name for name in here})
    for name, expected in there.items():
        same = (flipped[name].float() - expected.float()).abs() < 2e-3
        assert same.float().mean() > 0.998, name  # edges may fall to either side of a ray
        assert torch.equal(mirror(view).labels[name], flipped[name][0]), name
        assert torch.equal(flip(Batch(images, here), torch.tensor([False])).labels[name], here[name])
    for name in ("layout", "orientation"):
        unswapped = here[name].flip(-1)
        assert (unswapped != there[name]).float().mean() > 0.1


@pytest.fixture(scope="module", params=["source", "target"])
def pictures(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    made = [render(request.param, "train", index, 32, FURTHER) for index in range(64)]
    return {name: np.stack([picture.labels[name] for picture in made]) for name in FURTHER}


def test_arrays_match_their_specification(pictures):
    assert len(FURTHER) == 10
    for name, (dtype, trailing) in FURTHER.items():
        assert pictures[name].dtype == np.dtype(dtype)
        assert pictures[name].shape == (64, 32, 32, *trailing)
        assert np.isfinite(pictures[name]).all()


def test_every_class_is_there_and_none_is_everything(pictures):
    for name, classes in (("layout", 5), ("orientation", 5), ("curvature", 3), ("shadow", 2)):
        shares = np.bincount(pictures[name].reshape(-1)) / pictures[name].size
        assert len(shares) == classes, name  # 255, a wall behind the camera, never occurs
        assert shares.min() > 0.02, name
        assert shares.max() < 0.9, name
    assert pictures["material"].max() < len(SUBSTANCES) == 13


def test_albedo_has_a_truth_everywhere_and_lies_in_its_range(pictures):
    assert (pictures["albedo"] > 0).any(axis=-1).all()
    assert pictures["albedo"].max() <= 1
    assert pictures["shading"].min() > 0


def test_every_substance_of_a_home_occurs():
    made = [render("target", "train", index, 32, ["material"]).labels["material"] for index in range(64)]
    assert set(np.unique(np.stack(made))) == set(range(len(SUBSTANCES)))


def test_a_label_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"source.*no label 'semseg'.*albedo"):
        render("source", "train", 0, 16, ["semseg"])
    with pytest.raises(ValueError, match="no label 'albedos'"):
        cached_split("target", "train", 1, 16, labels=["albedos"])


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], range]]:
    """What is rendered: the arrays, and the indices."""
    told: list[tuple[list[str], range]] = []
    fill_here = scenes_cache.fill_here

    def listen(*args):
        told.append((list(args[0]), args[3]))
        fill_here(*args)

    monkeypatch.setattr(scenes_cache, "fill_here", listen)
    return told


def folders(base: Path) -> set[str]:
    return {str(path.parent.relative_to(base)) for path in base.rglob("manifest.json")}


def test_further_labels_are_rendered_and_stored_only_where_they_are_wanted(tmp_path, rendered):
    first = ["image", *LABELS["target"]]
    split = {"cache_dir": tmp_path, "progress": False}
    cached_split("target", "val", 2, 16, **split)
    cached_split("target", "val", 2, 16, labels=["depth"], **split)
    assert rendered == [(first, range(2))]
    assert folders(tmp_path) == {"scenes/1/target-val-16px-2"}
    arrays = cached_split("target", "val", 2, 16, labels=["depth", "layout"], **split)
    assert list(arrays) == ["image", "depth", "layout"]
    assert rendered[1:] == [(list(FURTHER), range(2))]
    assert folders(tmp_path) == {"scenes/1/target-val-16px-2", "scenes/1/further/1/target-val-16px-2"}
    for index in range(2):
        picture = render("target", "val", index, 16, FURTHER)
        whole = cached_split("target", "val", 2, 16, labels=FURTHER, **split)
        assert all(np.array_equal(whole[name][index], picture.labels[name]) for name in FURTHER)
    assert len(rendered) == 2


def test_with_both_missing_every_room_is_seen_once(tmp_path, rendered):
    split = {"cache_dir": tmp_path, "progress": False, "labels": ["edges", "albedo"]}
    cached_split("source", "train", 2, 16, **split)
    assert rendered == [(["image", *LABELS["source"], *FURTHER], range(2))]
    cached_split("source", "train", 3, 16, **split)
    assert rendered[1][1] == range(2, 3)
    cached_split("source", "train", 5, 16, cache_dir=tmp_path, progress=False)
    arrays = cached_split("source", "train", 4, 16, **split)
    assert rendered[2:] == [(["image", "depth", "edges"], range(3, 5)), (list(FURTHER), range(3, 4))]
    assert np.array_equal(arrays["albedo"][3], render("source", "train", 3, 16, ["albedo"]).labels["albedo"])


def test_the_version_of_further_labels_moves_no_first_one():
    golden = json.loads((Path(__file__).parents[1] / "golden" / "scenes.json").read_text(encoding="utf-8"))
    for domain, first in LABELS.items():
        assert list(golden[f"scenes/1/{domain}/train"]) == ["image", *first]
        assert list(golden[f"scenes/1/further/1/{domain}/train"]) == list(FURTHER)


def test_a_sheet_has_a_column_for_the_image_and_every_label():
    picture = render("target", "train", 0, 16, [*LABELS["target"], *FURTHER])
    sheet = contact_sheet([picture, picture], zoom=2)
    heading = sheet.shape[0] - 2 * 32
    assert 0 < heading < 20
    assert sheet.shape[1:] == (17 * 32, 3)
    columns = [sheet[heading : heading + 32, start : start + 32] for start in range(0, 17 * 32, 32)]
    assert np.array_equal(columns[0][::2, ::2], picture.image)
    assert all(len(np.unique(column)) > 1 for column in columns)
