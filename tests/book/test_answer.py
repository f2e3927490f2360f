"""The study's answer on the first page."""

import answer
import pandas as pd
import pytest

from gbmlib.analysis.intervals import Difference, OverNetworks
from gbmlib.analysis.spreads import Apart
from gbmlib.pages.head_to_head_pages import sentences
from gbmlib.study.records import Store

NOTHING = Difference(0.0, -0.01, 0.01, 19)


def effects(network="undecided", pipeline="higher", unsound="", p=0.01):
    rows = [
        {"effect": "architecture", "decided": network, "difference": Difference(-0.01, -0.03, 0.01, 19), "p": 0.5},
        {"effect": "pipeline", "decided": pipeline, "difference": Difference(0.08, 0.05, 0.11, 19), "p": p},
        {"effect": "interaction", "decided": "undecided", "difference": NOTHING, "p": 0.5},
    ]
    table = pd.DataFrame(rows, index=["U-Net − SegVAE", "pipeline B − A", "gain by B"])
    return table.assign(unsound=["", unsound, ""], networks=[NOTHING] * 3)


def apart(change, networks=None, carried_by=()):
    return Apart(change, OverNetworks(networks or change, 5, 0.01, 0.01), 0.03, carried_by)


def test_three_sentences_of_what_is_decided():
    network, pipeline, so = sentences(effects(), apart(Difference(-0.06, -0.09, -0.03, 19)))
    assert network.startswith("**The network: too close to tell.** ")
    assert network.endswith("network changes Dice by -0.010 (-0.030 to +0.010).")
    assert pipeline.startswith("**Everything around it: nnU-Net's way is better.** ")
    assert so.startswith("**Which matters more: everything around it.** Changing the pipeline moves Dice by ")
    assert so.endswith("+0.120 (+0.060 to +0.180) more than changing the network.")  # twice the distance to their mean


def test_one_patient_may_not_carry_the_answer():
    so = sentences(effects(), apart(Difference(-0.06, -0.09, -0.03, 19), carried_by=("a", "b")))[2]
    assert so.startswith("**Which matters more cannot be told yet**: ")
    assert so.endswith(", but once any one of 2 patients is left out, the interval holds zero.")


def test_what_leaves_a_clear_interval_undecided_is_named():
    said = sentences(effects(pipeline="undecided", p=0.06), apart(NOTHING))[1]
    assert said.startswith("**Everything around it: too close to tell (p above 0.05).** ")


@pytest.mark.parametrize(
    ("change", "words"), [((0.02, 0.01, 0.05), "more: the network."), ((0.0, -0.01, 0.02), "more: neither.")]
)
def test_the_third_sentence_follows_both_intervals(change, words):
    assert words in sentences(effects(), apart(Difference(*change, 19)))[2]
    over_networks = Difference(change[0], -0.04, 0.06, 5)
    assert (
        "**Which matters more cannot be told**"
        in sentences(effects(), apart(Difference(*change, 19), over_networks))[2]
    )


def test_unsound_networks_decide_nothing():
    _, pipeline, so = sentences(
        effects(pipeline="not decided yet", unsound="undertrained: still learning"), apart(NOTHING)
    )
    assert pipeline.startswith("**Everything around it: not decided yet (undertrained: still learning).** ")
    assert so == (
        "**Which matters more: not decided yet.** So far changing the network moves Dice by +0.000 (-0.020 to +0.020) "
        "more than changing the pipeline."
    )


def test_the_published_records_give_an_answer():
    store = Store("none", published="book/records")
    assert answer.answer(store).count("\n- **") == 2
    assert "19 patients" in answer.basis(store)
