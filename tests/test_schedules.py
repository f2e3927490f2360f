"""Learning rates at the epochs where they can be worked out by hand."""

import pytest

from gbmlib.schedules import learning_rate


def test_polynomial_decay_is_equation_1():
    assert learning_rate("polynomial", 0, 1e-4, 300) == 1e-4
    assert learning_rate("polynomial", 150, 1e-4, 300) == pytest.approx(1e-4 * 0.5**0.9)
    assert learning_rate("polynomial", 299, 1e-4, 300) == pytest.approx(1e-4 * (1 / 300) ** 0.9)


def test_warm_up_is_the_papers_line_and_meets_the_decay():
    rates = [learning_rate("polynomial", epoch, 1e-5, 300, warmup=10) for epoch in range(300)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx(1e-6 + 5 * 0.9e-6)
    assert rates[10] == pytest.approx(1e-5 * (1 - 10 / 300) ** 0.9)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_constant():
    assert [learning_rate("constant", epoch, 0.1, 5) for epoch in (0, 4)] == [0.1, 0.1]


def test_linear_annealing_by_hand():
    assert [learning_rate("linear", epoch, 4e-5, 4) for epoch in range(4)] == pytest.approx([4e-5, 3e-5, 2e-5, 1e-5])


def test_linear_annealing_warms_up_along_the_same_line():
    rates = [learning_rate("linear", epoch, 1e-5, 300, warmup=10) for epoch in range(300)]
    assert rates[:10] == [learning_rate("polynomial", epoch, 1e-5, 300, warmup=10) for epoch in range(10)]
    assert rates[10] == pytest.approx(1e-5 * (1 - 10 / 300))


def test_the_two_readings_differ_by_at_most_4_percent_of_the_peak():
    above = [learning_rate("polynomial", e, 1, 1000) - learning_rate("linear", e, 1, 1000) for e in range(1000)]
    assert min(above) == 0
    assert max(above) == pytest.approx(0.9**9 - 0.9**10, abs=1e-6)
    assert above.index(max(above)) == pytest.approx(1000 * (1 - 0.9**10), abs=1)
