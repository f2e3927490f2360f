"""The command that runs what the chapters show."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gbmlib.experiments import __main__ as command
from gbmlib.experiments import paper_b, run, runner, study
from gbmlib.records import Store
from gbmlib.training import TrainingError

COHORT = "phantom:cases=4,spacing=6,seed=0"


def test_every_chapter_has_its_runs():
    wanted = {chapter: command.wanted(chapter, "short", "brats2018-19") for chapter in command.CHAPTERS}
    counts = {chapter: len(runs) for chapter, runs in wanted.items()}
    assert counts["vnet"] == 10
    assert counts["vae"] == counts["se"] == 20
    assert counts["choices"] > 40
    assert counts["unet"] == counts["hippocampus"] == 2
    assert counts["anisotropy"] == 20
    # Comparisons share their base, and the sweep has it at 3 mm; that of the last is its thickest.
    assert len({of.id for of in wanted["untested"]}) == 28
    assert len({of.id for of in wanted["untested"] + wanted["anisotropy"]}) == 44
    # Four networks in five folds, their three averages, and the two switches of each.
    assert len({of.id for of in wanted["crossvalidation"]}) == 5 * (4 + 3 + 4 + 7)
    assert len({of.id for of in wanted["headtohead"]}) == 6 * 5
    assert {of.id for of in wanted["unet"]} <= {of.id for of in wanted["crossvalidation"]}
    of_hippocampus = command.wanted("crossvalidation", "short", paper_b.HIPPOCAMPUS_COHORT)
    assert len({of.id for of in of_hippocampus}) == 5 * (2 + 1 + 2 + 3)
    # Its five folds have a shorter schedule than the first fold by itself.
    assert not {of.id for of in wanted["hippocampus"]} & {of.id for of in of_hippocampus}


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
        "--only hippocampus: not for phantom:cases=4,spacing=6,seed=0, which has vnet, vae" in capsys.readouterr().err
    )


def test_the_hippocampus_has_its_own_runs(hippocampus_folder, tmp_path, capsys):
    asked = [f"msd:{hippocampus_folder}", "--profile", "short", "--list", "--store", str(tmp_path)]
    command.main(asked)
    assert "42 runs on msd-task04-hippocampus-260, 42 of them to do" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main([*asked, "--only", "vnet"])
    assert "which has hippocampus" in capsys.readouterr().err


def test_no_workers_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main([COHORT, "--workers", "0"])
    assert "--workers is 0" in capsys.readouterr().err


def test_one_run_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    good, bad, worse = (study.paper_a("test", epochs=1, seeds=[seed])[0] for seed in (0, 1, 2))
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
