"""The command that makes the runs that the book shows."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gbmlib.study import __main__ as command
from gbmlib.study import run, runner, scales
from gbmlib.study.records import Store
from gbmlib.training.loop import TrainingError

COHORT = "phantom:cases=4,spacing=6,seed=0"


def test_it_says_what_there_is_to_do_and_then_does_it(tmp_path, capsys):
    asked = [COHORT, "--profile", "test", "--only", "vae", "--store", str(tmp_path)]
    command.main([*asked, "--list"])
    assert "2 runs on phantom:cases=4,spacing=6,seed=0, 2 of them to do" in capsys.readouterr().out
    assert not Store(tmp_path).all()
    command.main(asked)
    command.main([*asked, "--list"])
    assert "0 of them to do" in capsys.readouterr().out
    assert len(Store(tmp_path).all()) == 2


def test_what_follows_from_the_data_and_what_does_not_fit_it(tmp_path, capsys):
    asked = [COHORT, "--profile", "test", "--list", "--store", str(tmp_path)]
    command.main(asked)
    every = capsys.readouterr().out
    assert "vnet-" in every
    assert "unet-" in every
    with pytest.raises(SystemExit):
        command.main([*asked, "--only", "hippocampus", "vae"])
    assert (
        "--only hippocampus: not at scale test for phantom:cases=4,spacing=6,seed=0; has headtohead, vnet, vae"
        in capsys.readouterr().err
    )


def test_the_hippocampus_has_its_own_runs(hippocampus_folder, tmp_path, capsys):
    asked = [f"msd:{hippocampus_folder}", "--profile", "short", "--list", "--store", str(tmp_path)]
    command.main([*asked, "--published", str(tmp_path)])
    assert "42 runs on msd-task04-hippocampus-260, 42 of them to do" in capsys.readouterr().out
    command.main([*asked, "--published", "book/records"])
    printed = capsys.readouterr().out
    assert "42 runs on msd-task04-hippocampus-260, 0 of them to do" in printed  # what is published is not made again
    assert "hippocampus-folds: 40 of 40 are there" in printed
    with pytest.raises(SystemExit):
        command.main([*asked, "--only", "vnet"])
    assert "has hippocampus-folds, hippocampus" in capsys.readouterr().err


def test_no_workers_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main([COHORT, "--workers", "0"])
    assert "--workers is 0" in capsys.readouterr().err


def test_one_run_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    good, bad, worse = (scales.paper_a("test", epochs=1, seeds=[seed])[0] for seed in (0, 1, 2))
    true = runner._run

    def breaks(experiment, *given):
        if experiment.seed:
            raise TrainingError(f"seed {experiment.seed} breaks")
        return true(experiment, *given)

    monkeypatch.setattr(runner, "_run", breaks)
    store = Store(tmp_path)
    with pytest.raises(ExceptionGroup, match="2 of 3 runs failed"):
        run([bad, worse, good], store, ThreadPoolExecutor(1), progress=False)
    assert store.get(good) is not None
    with pytest.raises(TrainingError, match="seed 1 breaks"):
        run([bad, good], store, ThreadPoolExecutor(1), progress=False)
