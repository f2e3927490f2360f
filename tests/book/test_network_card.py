"""How well the networks that come with the study do, as the book says it."""

import network_card
import pytest

from gbmlib.analysis import published
from gbmlib.files import NETWORKS
from gbmlib.study.networks import NAMED
from gbmlib.study.records import HELD_OUT, Store

REGIONS = {"glioma": ("WT", "TC", "ET"), "hippocampus": ("Anterior", "Posterior")}


@pytest.mark.parametrize("name", NAMED)
def test_the_card_has_the_means_of_the_records(name):
    record = Store(NETWORKS).named(NAMED[name])
    dice = record.cases[(record.cases.split == HELD_OUT) & (record.cases.metric == "dice")]
    head, _, own, all_of_them, *printed = network_card.card(name).splitlines()
    assert head == f"| Dice of | cases | {' | '.join(REGIONS[name])} |"
    means = [f"{dice[dice.region == region].value.mean():.3f}" for region in REGIONS[name]]
    assert own == f"| this network | {dice.case.nunique()} | {' | '.join(means)} |"
    assert all_of_them.startswith(f"| the 5 that were trained like it | {record.provenance['cases']} | ")
    assert len(printed) == (name == "hippocampus")


def test_the_card_has_the_value_that_the_paper_prints():
    anterior, posterior = published.table_2("Hippocampus").loc["3D"]
    row = network_card.card("hippocampus").splitlines()[-1]
    assert row == f"| Paper B's table 2, 3D | 260 | {anterior:.3f} | {posterior:.3f} |"
