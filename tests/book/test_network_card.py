"""How well the network that comes with the study does, as the book says it."""

import network_card

from gbmlib.files import NETWORKS
from gbmlib.study.records import HELD_OUT, Store


def test_the_card_has_the_means_of_the_records():
    [record] = Store(NETWORKS).all()
    dice = record.cases[(record.cases.split == HELD_OUT) & (record.cases.metric == "dice")]
    head, _, own, all_of_them = network_card.card().splitlines()
    assert head == "| Dice of | patients | WT | TC | ET |"
    means = [f"{dice[dice.region == region].value.mean():.2f}" for region in ("WT", "TC", "ET")]
    assert own == f"| this network | {dice.case.nunique()} | {' | '.join(means)} |"
    assert all_of_them.startswith("| the 5 that were trained like it | 19 | ")
