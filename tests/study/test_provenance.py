"""What a record says of the machine."""

import sys

import pytest
import torch

import gbmlib
from gbmlib.study import predicting, provenance
from gbmlib.training.memory import keep_freed_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forgets a peak")
def test_the_peak_is_that_of_a_run_and_not_of_the_process():
    keep_freed_memory()  # as runs do; what one has freed is not to count for the next
    provenance.forget_peak_memory(CPU)
    before = provenance.peak_memory_mb(CPU)
    held = torch.ones(2**26)  # 256 MiB
    assert provenance.peak_memory_mb(CPU) - before == pytest.approx(256, abs=40)
    del held
    provenance.forget_peak_memory(CPU)
    assert provenance.peak_memory_mb(CPU) - before < 40


def test_it_says_where_and_with_what():
    facts = provenance.describe(CPU)
    assert facts["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert facts["device"].endswith("cores")
    assert facts["numerics"] == gbmlib.NUMERICS


def test_a_package_that_is_not_there_is_left_out():
    assert list(provenance._versions(["torch", "no-such-package"])) == ["torch"]


def test_outside_a_checkout_the_commit_is_what_it_is_said_to_be(monkeypatch, tmp_path):
    monkeypatch.setattr(gbmlib, "__file__", str(tmp_path / "gbmlib" / "__init__.py"))
    monkeypatch.delenv("GBM_COMMIT", raising=False)
    assert provenance._commit() == "unknown"
    monkeypatch.setenv("GBM_COMMIT", "0123456789ab")
    assert provenance._commit() == "0123456789ab"


def test_tf32_is_off_within_a_run_and_as_before_after_it():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    with predicting.full_float32(torch.device("cpu")):
        assert convolutions.fp32_precision == before
    with predicting.full_float32(torch.device("cuda")):
        assert convolutions.fp32_precision == "ieee"
    assert convolutions.fp32_precision == before
