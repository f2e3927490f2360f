"""The command line: each command on phantoms or small files, and faults in one line."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest
from small_data import decathlon, write_brats

from gbmlib.__main__ import COMMANDS, main
from gbmlib.cohorts import open_cohort
from gbmlib.files import CASES
from gbmlib.planner import Fingerprint
from gbmlib.study import run, scales
from gbmlib.study.records import Store

COHORT = "phantom:cases=4,spacing=6,seed=0"


def test_it_says_what_there_is_to_do_and_then_does_it(tmp_path, capsys):
    asked = ["run", COHORT, "--profile", "test", "--only", "vae", "--store", str(tmp_path)]
    assert main([*asked, "--list"]) == 0
    assert f"2 runs on {COHORT}, 2 of them to do" in capsys.readouterr().out
    assert not Store(tmp_path).all()
    main(asked)
    main([*asked, "--list"])
    assert "0 of them to do" in capsys.readouterr().out
    assert len(Store(tmp_path).all()) == 2
    main(["records", "--store", str(tmp_path)])
    first, _ = lines = capsys.readouterr().out.splitlines()
    assert all(f"{COHORT}  brats  fold 0/2  seed 0" in line for line in lines)
    name = first.split()[0]
    assert main(["records", "--store", str(tmp_path), "--publish", name, "--to", str(tmp_path / "book")]) == 0
    assert [path.name for path in (tmp_path / "book").iterdir()] == [name]
    # What is published is made again where its weights are asked for.
    again = ["run", "--ids", name, "--store", str(tmp_path / "new"), "--published", str(tmp_path / "book"), "--list"]
    main(again)
    assert capsys.readouterr().out.splitlines()[-1] == f"1 runs to do in {tmp_path / 'new'}"


def test_what_follows_from_the_data_and_what_does_not_fit_it(tmp_path, capsys):
    asked = ["run", COHORT, "--profile", "test", "--list", "--store", str(tmp_path)]
    main(asked)
    every = capsys.readouterr().out
    assert "vnet-" in every
    assert "unet-" in every
    with pytest.raises(SystemExit) as fault:
        main([*asked, "--only", "hippocampus-folds", "vae"])
    assert fault.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: --only hippocampus-folds: not at scale test for {COHORT}; has headtohead, vnet")
    assert len(told.splitlines()) == 1


def test_the_hippocampus_has_its_own_runs(hippocampus_folder, tmp_path, capsys):
    asked = ["run", f"msd:{hippocampus_folder}", "--only", "hippocampus-folds", "untested/loss", "--list"]
    asked += ["--store", str(tmp_path)]
    main([*asked, "--published", str(tmp_path)])
    assert "60 runs on msd-task04-hippocampus-260, 60 of them to do" in capsys.readouterr().out
    main([*asked, "--published", "book/records"])
    printed = capsys.readouterr().out
    assert "hippocampus-folds: 40 of 40 are there" in printed  # what is published is not made again
    assert "60 of them to do" not in printed


def test_a_run_of_ones_own(tmp_path, capsys):
    own = scales.vnet("test", cohort=COHORT, epochs=1)[0]
    text = own.model_dump_json(exclude_defaults=True)
    asked = ["--store", str(tmp_path), "--list"]
    main(["run", "--configuration", text, *asked])
    assert f"1 runs to do in {tmp_path}" in capsys.readouterr().out
    (tmp_path / "own.json").write_text(text)
    main(["run", "--configuration", str(tmp_path / "own.json"), *asked[:2]])
    assert [record.id for record in Store(tmp_path).all()] == [own.id]


def test_a_scan_becomes_a_segmentation(tmp_path, capsys):
    (record,) = run(scales.vnet("test", cohort=COHORT, epochs=1), Store(tmp_path / "runs"), progress=False)
    write_brats("cases=2,spacing=6,seed=4", tmp_path / "data")
    asked = ["segment", f"brats:{tmp_path / 'data'}", "--to", str(tmp_path / "out"), "--store", str(tmp_path / "runs")]
    assert main([*asked, "--run", record.id]) == 0
    paths = capsys.readouterr().out.split()
    assert len(paths) == 2
    image = nib.load(next((tmp_path / "data").rglob("*_t1ce.nii.gz")))
    assert nib.load(paths[0]).shape == image.shape
    assert main([*asked, "--run", record.id, "--cases", "x"]) == 1
    assert capsys.readouterr().err.startswith("error: no case x in brats:")


def test_the_network_that_comes_with_the_study_needs_no_training(tmp_path, capsys):
    write_brats("cases=1,spacing=6,seed=4", tmp_path / "data")
    assert main(["segment", f"brats:{tmp_path / 'data'}", "--to", str(tmp_path / "out"), "--view"]) == 0
    volume, page = capsys.readouterr().out.split()
    assert nib.load(volume).shape == nib.load(next((tmp_path / "data").rglob("*_t1ce.nii.gz"))).shape
    assert "gbm-viewer" in Path(page).read_text()


def test_a_file_is_segmented_by_the_network_that_is_named(tmp_path, capsys):
    [scan, *_] = sorted((CASES / "hippocampi" / "imagesTr").iterdir())
    assert main(["segment", str(scan), "--network", "hippocampus", "--to", str(tmp_path)]) == 0
    [volume] = capsys.readouterr().out.split()
    assert nib.load(volume).shape == nib.load(scan).shape
    assert main(["segment", volume, "--network", "hippocampus", "--to", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith("is an image of this case; save the segmentation under another name\n")


def test_modalities_and_folds_are_chosen_as_in_the_notebooks(tmp_path, capsys):
    spec = decathlon(tmp_path / "data", ("CT", "PET"), cases=3)
    asked = ["run", spec, "--only", "vnet", "--list", "--store", str(tmp_path / "runs")]
    assert main(asked) == 1
    refused = capsys.readouterr().err.splitlines()
    assert refused[0].startswith(
        "error: msd-north-3: cannot split the cohort: 5 folds of 3 patients; use 2 to 3 (--folds"
    )
    assert len(refused) == 1  # for ten runs
    assert main([*asked[:3], "code", *asked[4:], "--folds", "3"]) == 1
    assert "normalisation 'dataset' does not suit ct: it takes 'ct' or 'ct_masked'" in capsys.readouterr().err
    assert main([*asked, "--folds", "3", "--modalities", "pet"]) == 0
    assert "6 runs on msd-north-3, 6 of them to do" in capsys.readouterr().out
    assert main([*asked, "--folds", "3", "--modalities", "t1ce"]) == 1
    assert capsys.readouterr().err == "error: cohort msd-north-3 has no modality ['t1ce']; it has ['ct', 'pet']\n"
    assert main(["run", spec, "--only", "vae", "--list", "--folds", "3", "--spacing", "1", *asked[-2:]]) == 0
    with pytest.raises(SystemExit):
        main(["run", spec, "--claims", "--folds", "3"])


def test_corrected_labels_are_noticed_before_any_work(tmp_path, capsys):
    spec = decathlon(tmp_path / "data")
    (record,) = run(
        scales.vnet("test", cohort=open_cohort(spec).name, modalities=("mr",), regions="labels", epochs=1),
        Store(tmp_path / "runs"),
        progress=False,
    )
    decathlon(tmp_path / "data", shift=2)
    asked = ["run", spec, "--only", "vnet", "--profile", "test", "--spacing", "2"]
    assert main([*asked, "--store", str(tmp_path / "runs")]) == 1
    told = capsys.readouterr().err
    assert "is other data than 1 runs of msd-north-4 in the store were made from" in told
    assert str(record.path) in told
    assert len(told.splitlines()) == 1
    assert main([*asked, "--store", str(tmp_path / "new"), "--list"]) == 0


def test_one_patient_needs_no_folds_to_be_segmented(tmp_path, capsys):
    (record,) = run(scales.vnet("test", cohort=COHORT, epochs=1), Store(tmp_path / "runs"), progress=False)
    write_brats("cases=1,spacing=6,seed=4", tmp_path / "data")
    asked = [f"brats:{tmp_path / 'data'}", "--store", str(tmp_path / "runs")]
    assert main(["segment", *asked, "--run", record.id, "--to", str(tmp_path / "out")]) == 0
    assert len(capsys.readouterr().out.split()) == 1
    assert main(["run", *asked, "--profile", "test", "--only", "vnet"]) == 1
    assert "one patient is not enough to train on; a run that is trained already segments it" in capsys.readouterr().err


def test_a_fingerprint_is_planned(tmp_path, capsys):
    fingerprint = Fingerprint(shapes=((40, 50, 40),) * 6, spacings=((1.0, 1.0, 1.0),) * 6, kinds=("MR",))
    path = tmp_path / "data.json"
    fingerprint.write(path)
    assert main(["plan", str(path)]) == 0
    fine = capsys.readouterr().out
    assert "40 x 50 x 40" in fine
    assert main(["plan", str(path), "--spacing", "2", "2", "2"]) == 0
    assert "20 x 25 x 20" in capsys.readouterr().out


def test_a_check_ends_with_its_status(tmp_path, capsys):
    assert main(["check", COHORT, "--quiet"]) == 0
    (tmp_path / "p1").mkdir()
    assert main(["check", f"brats:{tmp_path}"]) == 1
    capsys.readouterr()
    assert main(["check", COHORT, f"brats:{tmp_path}", "--json"]) == 1
    fine, wrong = json.loads(capsys.readouterr().out)
    assert (fine["ok"], fine["problems"], wrong["ok"]) == (True, [], False)
    [problem] = wrong["problems"]
    assert list(problem) == ["severity", "case", "file", "problem", "remedy"]
    assert problem["file"] == str(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nothing"], 2, "no command 'nothing'; there are check, plan, run"),
        (["run"], 2, "name the data that the runs need, such as brats:PATH;"),
        (["run", "--only", "choices/kernel", "--list"], 2, "the runs need, such as msd:PATH;"),
        (["run", "--only", "nothing"], 1, "no family 'nothing'; there are headtohead"),
        (["run", COHORT, "--workers", "0"], 2, "--workers is 0"),
        (["run", COHORT, "--profile", "larger"], 2, "invalid choice: 'larger'"),
        (["run", COHORT, "--only", "nothing"], 1, "no family 'nothing'; there are headtohead"),
        (["run", "--only", "vnet", COHORT], 2, "is data and not a name; put it first"),
        (["run", COHORT, "--only", "norm"], 1, "did you mean 'choices/norm'?"),
        (
            ["run", COHORT, "--profile", "test", "--folds", "1"],
            1,
            "1 folds: one to hold out and one to train on are the",
        ),
        (
            ["run", COHORT, "--profile", "test", "--only", "crossvalidation", "--spacing", "0"],
            1,
            "spacing (0.0, 0.0, 0.0): it takes",
        ),
        (["plan", COHORT, "--spacing", "0", "1", "1"], 1, "spacing (0.0, 1.0, 1.0): it takes positive numbers of mm"),
        (["run", "brats:nowhere"], 1, "nowhere"),
        (["run", "--ids", "vnet-unknown"], 1, "there is no record vnet-unknown"),
        (["run", "--configuration", "{}"], 1, "model"),
        (["verdicts", "no-such-claim"], 1, "no claim no-such-claim"),
        (["verdicts", "table-2"], 1, "did you mean 'table-1'?"),
        (["plan", "nowhere.json"], 1, "nowhere.json"),
        (["plan", "/"], 1, "/ is a path; say how the data set is laid out, as in brats:/"),
        (["segment", COHORT, "--run", "vnet-unknown", "--to", "x"], 1, "there is no record vnet-unknown"),
        (["segment", "scan.nii.gz", "--to", "x"], 1, "is one image: say which network it is for"),
        (["segment", "x", "--to", "x", "--network", "heart"], 2, "invalid choice: 'heart'"),
        (["segment", "x", "--to", "x", "--network", "glioma", "--run", "y"], 2, "not allowed with argument"),
        (["pack", "list", "nowhere.pack"], 1, "make it first"),
    ],
)
def test_a_fault_is_told_in_a_line_and_no_traceback(arguments, status, said, capsys):
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr().err
    assert code == status
    assert told.startswith("error: ")
    assert said in told
    assert "Traceback" not in told


def test_every_command_is_listed_and_explains_itself(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in listed
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert f"usage: python -m gbmlib {name}" in capsys.readouterr().out


#: What the extra ``book`` brings, and what a machine with the few packages of a pack lacks.
DRAWS = ("plotly", "matplotlib", "seaborn", "IPython", "ipywidgets", "anywidget")
BARE = (*DRAWS, "yaml", "nilearn", "pooch", "PIL", "traitlets")


@pytest.mark.parametrize(
    ("without", "work"),
    [
        (DRAWS, "import gbmlib.claims, gbmlib.claims.verdicts"),
        (DRAWS, "main(['verdicts', 'table-1', 'kernel-three-beats-five'])"),
        (DRAWS, "main(['run', 'phantom:cases=4,spacing=6', '--profile', 'test', '--list'])"),
        (BARE, "main(['pack', 'list', 'nowhere.pack'])"),
    ],
)
def test_a_command_works_without_what_it_does_not_need(without, work):
    code = f"import sys; sys.modules.update(dict.fromkeys({without!r})); from gbmlib.__main__ import main; {work}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "needs the package" not in done.stderr
