"""Plots: the right way round, of the right data, for one run and for several."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gbmlib.cohorts import open_cohort
from gbmlib.pages import curves, pictures, plots
from gbmlib.study import run, scales
from gbmlib.study.records import Store
from gbmlib.viewer import colours


class Marked:
    """A case with one bright voxel far to the patient's right, back and bottom of a filled box."""

    id, modalities, spacing, has_label, shape = "marked", ("t1ce",), (2.0, 1.0, 1.0), False, (5, 7, 9)

    def images(self):
        image = np.ones((1, *self.shape), np.float32)
        image[0, 0, 0, 0] = 9  # canonical axes grow to the right, front and top: index 0 is left, back, bottom
        return image


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_planes_are_in_radiological_convention():
    figure = pictures.planes(Marked(), position=(0, 0, 0))
    shown = {axes.get_title(): axes for axes in figure.findobj(plt.Axes) if axes.get_title()}
    for plane in ("axial", "coronal"):
        image = np.asarray(shown[plane].images[0].get_array())
        # The left of the patient is on the right of the picture; rows grow upwards, so the bottom is row 0.
        assert image[0, -1] == 9
        assert image[0, 0] == 1
        assert shown[plane].images[0].origin == "lower"
    assert shown["coronal"].get_aspect() == 2
    assert shown["axial"].get_aspect() == 1


def test_planes_are_cropped_and_find_the_tumour():
    case = open_cohort("phantom:cases=2,spacing=4,seed=0", ("flair", "t1ce")).cases[1]
    figure = pictures.planes(case)
    titles = [axes.get_title() for axes in figure.findobj(plt.Axes)]
    assert titles.count("axial") == 2
    axial = next(axes for axes in figure.findobj(plt.Axes) if axes.get_title() == "axial")
    assert axial.images[0].get_array().shape < case.shape[1:]


def test_maps_have_a_row_a_network_and_a_column_a_map():
    case = open_cohort("phantom:cases=1,spacing=6,seed=0", ("flair", "t1ce")).cases[0]
    volume = np.ones(case.shape, np.float32)
    figure = pictures.maps(case, {"2D": {"one": volume, "other": volume}, "3D": {"one": volume}}, case.label() > 0)
    titles = [f"{network}\n{name}" for network in ("2D", "3D") for name in ("one", "other")]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [len(axes.images) for axes in figure.axes] == [2, 2, 2, 1]
    assert len(pictures.maps(case, {}, case.label() > 0).axes) == 1  # where no network finds anything


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    return run(scales.vnet("test", folds=(0, 1), epochs=2), store, progress=False)


def test_curves_draw_every_run_and_their_mean(records, monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    one, two = (curves.of_runs(of, "words") for of in (records[:1], records))
    assert len(one.data) == 4  # training and validation, Dice and loss
    assert len(two.data) == 4 * 3
    thick = [trace for trace in two.data if trace.line.width == 3 and trace.name == "training"]
    mean = pd.concat([record.history.train_dice for record in records], axis=1).mean(axis=1)
    np.testing.assert_allclose(thick[0].y, mean)


def test_every_case_is_a_point_with_its_name(records, monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    figure = curves.per_case(records, "words")
    held_out = next(trace for trace in figure.data if trace.name == "WT, held out")
    assert sorted(held_out.text) == sorted(case.id for case in open_cohort(records[0].experiment.cohort))


def test_volumes_take_several_cohorts():
    table = pd.DataFrame({"case": ["a", "b"], "brain_ml": [1.0, 2.0], "WT_ml": [0.0, 30.0]})
    figure = pictures.volumes({"one": table, "two": table})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["one", "two"]


def test_regions_have_their_colours_and_others_get_spare_ones():
    of = plots.region_colours(["WT", "anterior", "posterior"])
    assert of["WT"] == colours.REGIONS["WT"]
    assert len(set(of.values())) == 3


def test_slices_of_a_case_at_each_thickness():
    case = open_cohort("phantom:cases=2,spacing=6,seed=0").cases[0]
    axes = pictures.thicknesses(case, [(6, 6, 6), (12, 6, 6)]).axes
    assert [axis.get_title() for axis in axes] == ["6 mm slices", "12 mm slices"]
    thin, thick = (axis.images[0].get_array().shape[0] for axis in axes)
    assert abs(thin - 2 * thick) <= 1
