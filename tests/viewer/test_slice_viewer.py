"""The viewer's Python side: sprites that lose nothing, quantisation within a step, and arguments checked at once."""

import base64
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from small_data import decathlon

from gbmlib.cohorts import open_cohort
from gbmlib.viewer import sprites, view
from gbmlib.viewer.output import StaticViewer
from gbmlib.viewer.volume_viewer import volume as volume_in_3d

SHAPES = arrays.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)


def decode(sheets: list[str], shape: tuple[int, int, int]) -> np.ndarray:
    """The page's way back, written again: slice by slice out of the sheets."""
    depth, rows, columns = shape
    layout = sprites.layout(shape)
    volume = np.empty(shape, np.uint8)
    for index in range(depth):
        sheet, within = divmod(index, layout["perSheet"])
        down, across = divmod(within, layout["across"])
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheets[sheet]))))
        volume[index] = pixels[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns]
    return volume


@given(arrays.arrays(np.uint8, SHAPES))
def test_sprites_there_and_back(volume):
    np.testing.assert_array_equal(decode(sprites.sheets(volume), volume.shape), volume)


def test_sprites_over_several_sheets(monkeypatch):
    monkeypatch.setattr(sprites, "SHEET", 16)
    volume = np.arange(11 * 5 * 7, dtype=np.uint64).astype(np.uint8).reshape(11, 5, 7)
    assert sprites.layout(volume.shape) == {"across": 2, "perSheet": 6}
    sheets = sprites.sheets(volume)
    assert len(sheets) == 2
    np.testing.assert_array_equal(decode(sheets, volume.shape), volume)


@given(arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 1e7, width=32)))
def test_quantisation_is_within_half_a_step_and_keeps_the_background(volume):
    image = sprites.quantise(volume)
    assert (image.volume[volume == 0] == 0).all()
    assert (image.volume[volume != 0] > 0).all()
    step = (image.high - image.low) / 254
    read = image.low + (image.volume.astype(float) - 1) * step
    inside = (volume != 0) & (volume >= image.low) & (volume <= image.high)
    tolerance = step / 2 + 1e-9 * max(1.0, image.high)
    assert (np.abs(read - volume)[inside] <= tolerance).all()
    assert (image.volume[(volume != 0) & (volume < image.low)] == 1).all()
    assert (image.volume[volume > image.high] == 255).all() or image.high == image.low


def test_quantisation_by_hand():
    image = sprites.quantise(
        np.arange(0, 10_001, dtype=np.float64).reshape(1, 73, 137)
    )  # 0 is background, 1 … 10000 are not
    assert (image.minimum, image.maximum) == (1, 10_000)
    assert image.low == pytest.approx(1 + 0.001 * 9_999)  # the 0.1 percentile of 10,000 evenly spaced values
    assert image.high == pytest.approx(1 + 0.999 * 9_999)
    assert image.volume.ravel()[[0, 1, 10, 10_000]].tolist() == [0, 1, 1, 255]


def test_zero_is_background_in_scans_but_not_in_ct():
    normalised = np.zeros((5, 5, 5))
    normalised[1:4, 1:4, 1:4] = np.linspace(-2, 2, 27).reshape(3, 3, 3)
    assert sprites.has_background(normalised)
    ct = np.full((5, 5, 5), -1000.0)
    ct[2, 2, :3] = 0, 40, -20
    assert not sprites.has_background(ct)
    assert (sprites.quantise(ct).volume > 0).all()


def test_a_constant_and_an_empty_image():
    assert sprites.quantise(np.zeros((2, 3, 4))).volume.max() == 0
    constant = sprites.quantise(np.full((2, 3, 4), 7.0))
    assert (constant.low, constant.high, set(constant.volume.ravel())) == (7, 7, {1})


def test_checksum_by_hand():
    assert sprites.checksum(np.array([[[3, 0, 5]]], np.uint8)) == 3 * 1 + 5 * 3
    volume = np.zeros((1, 2, 65521), np.uint8)
    volume[0, 1, 0] = 9  # index 65521: the weights begin again
    assert sprites.checksum(volume) == 9
    assert sprites.checksum(np.full((16, 1024, 1024), 255, np.uint8)) < 2**32


def test_bounding_box_holds_brain_and_labels():
    brain, label = np.zeros((9, 9, 9)), np.zeros((9, 9, 9), np.uint8)
    brain[4:6, 3, 4] = 1
    label[4, 8, 4] = 2  # a labelled voxel on zero background, as in real data
    assert sprites.bounding_box([brain, label], margin=1) == (slice(3, 7), slice(2, 9), slice(3, 6))
    assert sprites.bounding_box([np.zeros((2, 3, 4))]) == (slice(0, 2), slice(0, 3), slice(0, 4))


# ------------------------------------------------------------------------------------------------------ what view makes


@pytest.fixture
def volume() -> np.ndarray:
    volume = np.zeros((12, 14, 16), np.float32)
    volume[3:10, 3:11, 4:13] = np.random.default_rng(0).uniform(100, 900, (7, 8, 9))
    return volume


@pytest.fixture
def label(volume) -> np.ndarray:
    label = np.zeros(volume.shape, np.uint8)
    label[4:7, 5:8, 6:9] = 2
    label[5, 6, 6:8] = (1, 3)
    return label


def test_view_crops_and_carries_labels_exactly(volume, label):
    viewer = view({"t1": volume}, label, spacing=(3, 1, 1), mode="static")
    where = viewer.spec["sprites"]
    assert (where["start"], where["size"]) == ([1, 1, 2], [11, 12, 13])
    box = tuple(slice(a, a + n) for a, n in zip(where["start"], where["size"], strict=True))
    carried = decode(viewer.spec["overlays"][0]["sheets"], tuple(where["size"]))
    np.testing.assert_array_equal(carried, label[box])
    assert viewer.spec["overlays"][0]["checksum"] == sprites.checksum(label[box])
    assert viewer.position == (4, 5, 6)  # each slice of the block holds nine labelled voxels; the first one wins
    assert viewer.spec["spacing"] == [3, 1, 1]


def test_a_case_knows_the_names_of_its_labels(tmp_path):
    names = tuple(f"organ {number}" for number in range(1, 10))
    case = open_cohort(decathlon(tmp_path, labels=names, cases=1)).cases[0]
    for seen in (view(case, case.label(), mode="static"), volume_in_3d(case, case.label(), mode="static")):
        assert [of["name"] for of in seen.spec["classes"]] == list(names)
    glioma = open_cohort("phantom:cases=1,spacing=10,seed=0").cases[0]
    assert view(glioma, mode="static").spec["classes"][1]["name"] == "oedema"


def test_ct_is_shown_whole():
    ct = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8)).astype(np.float32)
    where = view({"ct": ct}, spacing=(1, 1, 1), mode="static").spec["sprites"]
    assert (where["start"], where["size"]) == ([0, 0, 0], [6, 7, 8])


def test_a_case_with_and_without_its_label():
    case = open_cohort("phantom:cases=1,spacing=6,seed=0").cases[0]
    alone = view(case, modalities=("flair",), mode="static")
    assert [image["name"] for image in alone.spec["images"]] == ["flair"]
    assert (alone.spec["overlays"], alone.spec["truth"], alone.spec["title"]) == ([], None, case.id)
    assert alone.spec["spacing"] == list(case.spacing)
    both = view(case, case.label(), case.label(), overlays={"first model": case.label()}, mode="static")
    named = [(overlay["name"], overlay["style"]) for overlay in both.spec["overlays"]]
    assert named == [("gold standard", "outline"), ("prediction", "fill"), ("first model", "off")]
    assert (both.spec["truth"], both.spec["prediction"]) == (0, 1)


def test_the_first_of_several_label_maps_is_the_prediction_and_each_is_measured(volume, label):
    maps = {
        "same": label,
        "half": np.where(np.arange(16) < 7, label, 0),
        "empty": np.zeros_like(label),
        "of another class": np.uint8(4) * (label > 0),
    }
    names = {1: "core", 2: "oedema", 3: "enhancing", 4: "something else"}
    spec = view({"t1": volume}, label, overlays=maps, names=names, spacing=(1, 1, 1), mode="static").spec
    assert [overlay["style"] for overlay in spec["overlays"]] == ["outline", "fill", "off", "off", "off"]
    assert spec["prediction"] == 1
    # 9 of the 27 labelled voxels: 2 x 9 / (27 + 9). What has no class of the gold standard's is not measured.
    assert [overlay["dice"] for overlay in spec["overlays"]] == [None, 1, 0.5, 0, None]
    alone = view({"t1": volume}, overlays=maps, names=names, spacing=(1, 1, 1), mode="static").spec
    assert [overlay["dice"] for overlay in alone["overlays"]] == [None] * 4
    assert (alone["truth"], alone["prediction"]) == (None, 0)


def test_html_stands_alone_and_holds_its_data_safely(volume, label):
    html = view({"t1": volume}, label, spacing=(1, 1, 1), title="</script><b>", mode="static")._repr_html_()
    assert "</script><b>" not in html
    data = re.search(r'class="gbm-viewer-data">(.*?)</script>', html, re.S).group(1)
    assert json.loads(data)["title"] == "</script><b>"
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", html)


def test_the_same_case_gives_the_same_html(volume, label):
    made = [view({"t1": volume}, label, spacing=(1, 1, 1), mode="static")._repr_html_() for _ in range(2)]
    assert made[0] == made[1]


def test_save_is_whole_or_nothing(volume, tmp_path, monkeypatch):
    viewer = view({"t1": volume}, spacing=(1, 1, 1), title="A & B", mode="static")
    path = viewer.save(tmp_path / "new" / "case.html")
    assert "<title>A &amp; B</title>" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["case.html"]


def test_the_place_decides_between_static_and_live(volume, monkeypatch):
    monkeypatch.setenv("GBM_STATIC", "1")
    assert isinstance(view({"t1": volume}, spacing=(1, 1, 1)), StaticViewer)
    monkeypatch.delenv("GBM_STATIC")
    live = view({"t1": volume}, spacing=(1, 1, 1))
    assert not isinstance(live, StaticViewer)
    assert live.position == view({"t1": volume}, spacing=(1, 1, 1), mode="static").position


def test_live_traits_are_checked_and_saved(volume, tmp_path):
    import traitlets

    live = view({"t1": volume, "t2": volume}, spacing=(1, 1, 1), mode="live")
    live.position = np.array([1, 2, 3])
    assert live.position == (1, 2, 3)
    live.modality = "t2"
    for name, value in {"modality": "t3", "position": (1, 2, 16)}.items():
        with pytest.raises(traitlets.TraitError):
            setattr(live, name, value)
    assert (live.position, live.modality) == ((1, 2, 3), "t2")
    assert '"start": {"position": [1, 2, 3], "modality": "t2"}' in live.save(tmp_path / "live.html").read_text()


def test_live_without_anywidget_says_what_to_do(volume, monkeypatch):
    from gbmlib.viewer import output

    output.live_viewer.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"gbmlib\[book\].*mode='static'"):
        view({"t1": volume}, spacing=(1, 1, 1), mode="live")
    output.live_viewer.cache_clear()


def test_all_problems_in_one_message(volume, label):
    unknown = label.copy()
    unknown[5, 5, 7] = 4
    with pytest.raises(ValueError, match="the viewer cannot show this") as raised:
        view(
            {"t1": volume, "t2": volume[1:], "flair": np.where(volume > 0, np.nan, volume)},
            label[:, 1:],
            unknown,
            overlays={"prediction": label},
            modalities=("t1", "t2", "flair", "pd"),
            spacing=(1, 0, 1),
            position=(1, 2, 16),
            mode="alive",
        )
    message = str(raised.value)
    for part in (
        "no ['pd'] in this case; it has ['t1', 't2', 'flair']",
        "spacing is [1.0, 0.0, 1.0]",
        "image 't2' has shape (11, 14, 16)",
        "image 'flair' holds 504 voxels that are no number",
        "label map 'gold standard' has shape (12, 13, 16), the case (12, 14, 16)",
        "label map 'prediction' holds [4]",
        "overlays: ['prediction'] are the names of truth= and prediction=",
        "position (1, 2, 16) lies outside",
        "mode is 'alive'",
    ):
        assert part in message
    assert message.count("\n- ") == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"case": 3}, "case is a int"),
        ({"case": {}}, "no image to show"),
        ({"spacing": None}, "spacing is missing"),
        ({"position": (1.5, 2, 3)}, "three whole numbers"),
        ({"position": (1, 2)}, "three whole numbers"),
        ({"position": (-1, 2, 3)}, "lies outside"),
        ({"names": {0: "background"}}, "cannot be label values"),
        ({"names": {300: "far"}}, "cannot be label values"),
        ({"case": {"t1": np.zeros((3, 4))}}, "three axes"),
    ],
)
def test_bad_arguments(volume, arguments, message):
    with pytest.raises(ValueError, match=message):
        view(**{"case": {"t1": volume}, "spacing": (1, 1, 1), "mode": "static", **arguments})


def test_side_by_side_needs_maps_and_measures_them_where_there_is_a_truth(volume, label):
    with pytest.raises(ValueError, match="side_by_side needs overlays"):
        view({"mri": volume}, label, spacing=(1, 1, 1), side_by_side=True)
    pair = {"same": label, "empty": np.zeros_like(label)}
    names = {value: f"part {value}" for value in range(1, int(label.max()) + 1)}
    spec = view({"mri": volume}, overlays=pair, names=names, spacing=(1, 1, 1), side_by_side=True, mode="static").spec
    assert spec["panels"] == [{"name": name, "overlay": i, "note": ""} for i, name in enumerate(pair)]
    assert [overlay["style"] for overlay in spec["overlays"]] == ["fill", "fill"]
    spec = view(
        {"mri": volume}, label, overlays=pair, names=names, spacing=(1, 1, 1), side_by_side=True, mode="static"
    ).spec
    assert [panel["overlay"] for panel in spec["panels"]] == [1, 2]
    assert "1.00" in spec["panels"][0]["note"]
    assert "1.00" not in spec["panels"][1]["note"]


def test_label_maps_in_turn_begin_with_the_last(volume, label):
    steps = {"epoch 1": np.zeros_like(label), "epoch 2": label}
    names = {value: f"part {value}" for value in range(1, int(label.max()) + 1)}
    case = {"case": {"mri": volume}, "names": names, "spacing": (1, 1, 1), "mode": "static", "in_turn": True}
    for wrong, message in (({}, "in_turn needs overlays"), ({"side_by_side": True, "overlays": steps}, "exclude")):
        with pytest.raises(ValueError, match=message):
            view(**case, **wrong)
    spec = view(truth=label, overlays=steps, **case).spec
    assert [(turn["name"], turn["overlay"]) for turn in spec["turns"]] == [("epoch 1", 1), ("epoch 2", 2)]
    assert [overlay["style"] for overlay in spec["overlays"]] == ["outline", "off", "fill"]
    assert spec["prediction"] == 2
    assert "1.00" in spec["turns"][1]["note"]
    assert "1.00" not in spec["turns"][0]["note"]


def test_a_real_case_stays_under_four_megabytes(brats_folder):
    case = open_cohort(f"brats:{brats_folder}").cases[5]
    truth = case.label()
    html = view(case, truth, np.roll(truth, 2, 1), modalities=("t1ce", "flair"), mode="static")._repr_html_()
    assert case.shape == (155, 240, 240)
    assert 1e6 < len(html) < 4e6


# ----------------------------------------------------------------------------------------- probabilities and other maps


@given(arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)), st.integers(1, 255))
def test_a_decision_at_a_level_is_the_decision_before_quantisation(probability, level):
    np.testing.assert_array_equal(sprites.quantise_probability(probability) >= level, probability >= level / 256)


def test_quantised_probabilities_and_maps_by_hand():
    given = np.array([[[0, 0.0039, 0.00390625, 0.5, 0.999, 1]]])
    assert sprites.quantise_probability(given).ravel().tolist() == [0, 0, 1, 128, 255, 255]
    assert sprites.quantise_map(given).ravel().tolist() == [0, 1, 1, 128, 255, 255]


@pytest.fixture
def probability(volume) -> np.ndarray:
    """Everywhere above zero; above a half within the brain, and in one voxel far from it."""
    probability = np.full(volume.shape, 0.01, np.float32)
    probability[4:8, 5:9, 6:10] = 0.8
    return probability


def test_probabilities_carry_their_regions_and_what_lies_outside(volume, label, probability):
    spec = view({"t1": volume}, label, spacing=(1, 1, 1), probability={"TC": probability}, mode="static").spec
    (carried,) = spec["probabilities"]
    assert (carried["name"], carried["values"]) == ("TC", [1, 3])
    size = tuple(spec["sprites"]["size"])
    levels = decode(carried["sheets"], size)
    assert set(levels.ravel()) == {2, 204}  # 0.01 x 256 = 2.56, 0.8 x 256 = 204.8
    assert carried["outside"] == [[2, volume.size - int(np.prod(size))]]
    assert spec["overlays"][0]["style"] == "outline"
    assert spec["colour"] not in {of["colour"] for of in spec["classes"]}


def test_what_reaches_a_half_is_always_in_view(volume, probability):
    probability[0, 0, 0] = 0.5
    where = view({"t1": volume}, spacing=(1, 1, 1), probability=probability, mode="static").spec["sprites"]
    assert (where["start"], where["size"]) == ([0, 0, 0], [12, 13, 15])


def test_a_probability_alone_is_of_all_labels_and_says_where_to_begin(volume, probability):
    viewer = view(
        {"t1": volume}, spacing=(1, 1, 1), names={2: "here", 5: "there"}, probability=probability, mode="static"
    )
    assert (viewer.region, viewer.threshold, viewer.position) == ("any label", 0.5, (4, 5, 6))
    assert viewer.spec["probabilities"][0]["values"] == [2, 5]
    named = view(
        {"t1": volume},
        spacing=(1, 1, 1),
        names={2: "here", 5: "there"},
        probability={"there": probability},
        threshold=0.3,
        mode="static",
    )
    assert named.spec["probabilities"][0]["values"] == [5]
    assert named.threshold == 77 / 256  # 76.8
    assert '"region": "there", "threshold": 0.30078125}' in named._repr_html_()


def test_maps_travel_with_their_colours(volume, label):
    values = np.where(volume > 0, volume / 900, 0)
    spec = view({"t1": volume}, label, spacing=(1, 1, 1), maps={"heat": values}, mode="static").spec
    where = spec["sprites"]
    box = tuple(slice(a, a + n) for a, n in zip(where["start"], where["size"], strict=True))
    carried = decode(spec["maps"][0]["sheets"], tuple(where["size"])) / 255
    assert np.abs(carried - values[box]).max() <= 0.5 / 255 + 1e-6
    assert len(spec["palette"]) == 256 * 6
    first, last = spec["palette"][:6], spec["palette"][-6:]
    assert (first, last) == ("000004", "fcffa4")  # of inferno, as matplotlib lists it
    assert view({"t1": volume}, label, spacing=(1, 1, 1), mode="static").spec["palette"] == ""


def test_a_prediction_makes_way_for_its_probability(volume, label, probability):
    spec = view({"t1": volume}, label, label, spacing=(1, 1, 1), probability=probability, mode="static").spec
    assert [overlay["style"] for overlay in spec["overlays"]] == ["outline", "off"]


def test_rounding_of_a_sum_is_no_error_and_a_percentage_is_one(volume, probability):
    view({"t1": volume}, spacing=(1, 1, 1), probability=probability * 1.2501, mode="static")  # 1.00008
    with pytest.raises(ValueError, match="values from 1 to 80; scale it to between 0 and 1"):
        view({"t1": volume}, spacing=(1, 1, 1), probability=100 * probability, mode="static")


def test_all_problems_of_probabilities_and_maps_in_one_message(volume, label, probability):
    with pytest.raises(ValueError, match="the viewer cannot show this") as raised:
        view(
            {"t1": volume},
            label,
            spacing=(1, 1, 1),
            probability={"WT": probability[1:], "CT": probability, "ET": probability - 0.1},
            maps={"one": volume, "two": np.where(volume > 0, np.nan, 0)},
            threshold=1,
        )
    message = str(raised.value)
    for part in (
        "probability: there is no region ['CT']; these labels have ['any label', ",
        "'WT', 'TC', 'ET']",
        "probability of 'WT' has shape (11, 14, 16), the case (12, 14, 16)",
        "probability of 'ET' has values from -0.09 to 0.7",
        "map 'one' has values from 0 to ",
        "map 'two' holds 504 voxels that are no number",
        "threshold is 1; it takes a number between 0 and 1",
    ):
        assert part in message
    assert message.count("\n- ") == 6


@pytest.mark.parametrize("threshold", [0, 1.0, -1, "half", None, float("nan")])
def test_a_threshold_that_is_none(volume, probability, threshold):
    with pytest.raises(ValueError, match="threshold is "):
        view({"t1": volume}, spacing=(1, 1, 1), probability=probability, threshold=threshold)


def test_live_threshold_and_region_are_checked(volume, probability):
    import traitlets

    of = {"WT": probability, "ET": probability / 2}
    live = view({"t1": volume}, spacing=(1, 1, 1), probability=of, mode="live")
    assert (live.region, live.threshold) == ("WT", 0.5)
    live.region, live.threshold = "ET", 0.2501
    assert (live.region, live.threshold) == ("ET", 0.25)
    for name, value in {"region": "TC", "threshold": 1}.items():
        with pytest.raises(traitlets.TraitError):
            setattr(live, name, value)
    without = view({"t1": volume}, spacing=(1, 1, 1), mode="live")
    with pytest.raises(traitlets.TraitError, match="carries no probability"):
        without.threshold = 0.4


def test_a_real_case_with_probabilities_and_maps_stays_well_under_eight_megabytes(brats_folder):
    from scipy.ndimage import gaussian_filter

    case = open_cohort(f"brats:{brats_folder}", modalities=("t1ce", "flair")).cases[5]
    truth = case.label()
    # As rough as a network's on a grid of 3 mm: smooth, but nowhere quite certain.
    noise = gaussian_filter(np.random.default_rng(0).normal(size=case.shape).astype(np.float32), 2)
    soft = gaussian_filter((truth > 0).astype(np.float32), 4) + 0.2 * noise
    likely = {name: np.clip(soft * share, 0, 1) for name, share in (("WT", 1), ("TC", 0.8), ("ET", 0.6))}
    maps = {"entropy": 4 * likely["WT"] * (1 - likely["WT"]), "heat": np.clip(soft**2, 0, 1)}
    html = view(case, truth, np.roll(truth, 2, 1), probability=likely, maps=maps, mode="static")._repr_html_()
    assert 2e6 < len(html) < 7e6
