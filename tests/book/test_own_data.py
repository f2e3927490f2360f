"""The two chapters for readers with their own data and machines: what stands there works, and prints what is shown."""

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gbmlib.__main__ import main
from gbmlib.cohorts import open_cohort
from gbmlib.study import catalogue

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "cohorts"))

from folders import LPS, label_of, noise, save  # noqa: E402

PAGES = {name: (ROOT / "book" / f"{name}.md").read_text() for name in ("own_data", "cluster")}


def blocks(page, language):
    """The code blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def shown(page, command):
    """What a page says that a command prints."""
    return re.search(rf"<!-- output: {re.escape(command)} -->\n```text\n(.*?)```", PAGES[page], re.DOTALL)[1]


def commands(start):
    """The lines of both pages' shell blocks that begin so, without that beginning."""
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    return [line.removeprefix(start).strip() for line in lines if line.startswith(start)]


def export(cohort, folder, labelled=True):
    """Phantoms as a hospital might have them: two images of a case, and the label in the values of BraTS."""
    for case in cohort:
        place = folder / case.id
        place.mkdir(parents=True)
        volumes = dict(zip(case.modalities, case.images(), strict=True))
        if labelled:
            volumes["seg"] = np.array([0, 1, 2, 4], np.uint8)[case.label()]
        for name, volume in volumes.items():
            nib.save(nib.Nifti1Image(volume.transpose(2, 1, 0), case.affine), place / f"{case.id}_{name}.nii.gz")


# ------------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("command", commands(".venv/bin/python -m gbmlib "))
def test_a_command_has_the_options_that_it_is_given(command, capsys):
    name, *arguments = command.split()
    with pytest.raises(SystemExit):
        main([name, *arguments[: name == "pack"], "--help"])  # which has commands of its own
    known = capsys.readouterr().out
    assert {word for word in arguments if word.startswith("--")} <= set(re.findall(r"--\w+", known))
    families = re.search(r"--only ([^-]*)", command)
    assert set(families[1].split() if families else ()) <= set(catalogue.SETS)


@pytest.mark.parametrize("command", commands("make rerun"))
def test_a_notebook_has_the_parameters_that_it_is_given(command):
    name = re.search(r"NOTEBOOK=(\w+)", command)[1]
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    [parameters] = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    for given in re.findall(r"-p (\w+)", command):
        assert f"\n{given} = " in f"\n{parameters}", given


def test_the_pages_have_commands_to_test():
    assert len(commands(".venv/bin/python -m gbmlib ")) >= 6
    assert len(commands("make rerun")) >= 2


def test_the_list_of_tasks_is_the_one_that_is_shown(capsys):
    main(["download", "msd", "--list"])
    assert capsys.readouterr().out == shown("own_data", "python -m gbmlib download msd --list")


def test_the_check_says_what_is_shown_of_these_faults(tmp_path, monkeypatch, capsys):
    root = tmp_path / "data" / "hospital"
    for number in range(1, 8):
        place = root / f"p{number:02d}" / f"p{number:02d}"
        save(place.with_name(f"{place.name}_flair.nii.gz"), noise(10 * number), LPS)
        save(place.with_name(f"{place.name}_t1ce.nii.gz"), noise(10 * number + 1), LPS)
        save(place.with_name(f"{place.name}_seg.nii.gz"), label_of((1, 2, 4), number), LPS)
    (root / "p02" / "p02_t1ce.nii.gz").unlink()
    save(root / "p03" / "p03_seg.nii.gz", label_of((1, 2, 4), 3, (6, 7, 4)), LPS)
    cut = root / "p04" / "p04_flair.nii.gz"
    cut.write_bytes(cut.read_bytes()[:200])
    shutil.copy(root / "p01" / "p01_flair.nii.gz", root / "p05" / "p05_flair.nii.gz")
    save(root / "p06" / "p06_seg.nii.gz", label_of((1, 2, 4, 7), 6), LPS)
    (root / "p07" / "p07_seg.nii.gz").unlink()
    monkeypatch.chdir(tmp_path)
    assert main(["check", "brats:data/hospital"]) == 1
    assert capsys.readouterr().out == shown("own_data", "python -m gbmlib check brats:data/hospital")


def test_the_description_of_a_data_set_opens(tmp_path):
    [text] = blocks("own_data", "json")
    for number, entry in enumerate([*json.loads(text)["training"], {"image": json.loads(text)["test"][0]}]):
        save(tmp_path / entry["image"], noise(number))
        if "label" in entry:
            save(tmp_path / entry["label"], label_of((1,), number))
    (tmp_path / "dataset.json").write_text(text)
    cohort = open_cohort(f"msd:{tmp_path}")
    assert f"`{cohort.name}`" in PAGES["own_data"]
    assert len(cohort) == 3


def test_the_table_of_the_page_opens(tmp_path):
    [text] = [block for block in blocks("own_data", "text") if block.startswith("case,")]
    for number, path in enumerate(re.findall(r"[\w/]+\.nii\.gz", text)):
        save(tmp_path / path, label_of((1, 2), number) if "labels" in path else noise(number))
    (tmp_path / "liver.csv").write_text(text)
    cohort = open_cohort(f"table:{tmp_path}/liver.csv")
    assert (cohort.labels, cohort.modality_kinds) == ({1: "liver", 2: "tumour"}, ("CT",))
    assert (len(cohort), len(cohort.labelled), cohort["a0"].patient) == (3, 2, "north-1")


@pytest.mark.slow
def test_the_python_of_the_page_plans_trains_and_predicts(tmp_path, monkeypatch):
    export(open_cohort("phantom:cases=4,spacing=6,seed=3"), tmp_path / "data" / "hospital")
    export(open_cohort("phantom:cases=1,spacing=6,seed=9"), tmp_path / "data" / "new", labelled=False)
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in blocks("own_data", "python"):
        small = block.replace('"study"', '"test"').replace("range(5)", "range(2)")
        exec(compile(small, "own_data.md", "exec"), known)
    assert [record.experiment for record in known["records"]] == known["wanted"]
    [segmentation] = (tmp_path / "segmentations").iterdir()
    image = nib.load(next((tmp_path / "data" / "new").rglob("*_flair.nii.gz")))
    label = nib.load(segmentation)
    assert label.shape == image.shape
    assert np.allclose(label.affine, image.affine)
    assert set(np.unique(label.dataobj)) <= {0, 1, 2, 4}


# -------------------------------------------------------------------------------------------------------- cluster


@pytest.fixture(scope="module")
def slurm():
    """The cluster of the recipe; nothing is submitted before it is scaled."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="needs the extra cluster: dask-jobqueue")
    [recipe] = [block for block in blocks("cluster", "python") if "SLURMCluster(" in block]
    [call] = [
        node
        for node in ast.walk(ast.parse(recipe))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SLURMCluster"
    ]
    options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    with jobqueue.SLURMCluster(**options, scheduler_options={"dashboard_address": None}) as cluster:
        yield cluster, options


def test_the_recipe_gives_the_job_script_that_is_shown(slurm):
    script = slurm[0].job_script()
    assert shown("cluster", "job_script") in script
    worker = script.splitlines()[-1]
    assert "--nthreads 1 " in worker
    assert "--memory-limit 32.00GiB" in worker
    assert "--nworkers" not in worker


def test_the_worker_leaves_before_its_job_ends(slurm):
    given = dict(zip(slurm[1]["worker_extra_args"][::2], slurm[1]["worker_extra_args"][1::2], strict=True))
    minutes = {name: int(value.removesuffix("m")) for name, value in given.items()}
    hours, rest, _ = map(int, slurm[1]["walltime"].split(":"))
    assert minutes["--lifetime"] + minutes["--lifetime-stagger"] < 60 * hours + rest
    from distributed.cli.dask_worker import main

    assert set(given) <= {option for parameter in main.params for option in parameter.opts}


def test_the_options_that_the_page_names_exist(slurm):
    import dask
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.core import cluster_parameters, job_parameters

    named = job_parameters + cluster_parameters + SLURMCluster.__doc__
    for option in (*slurm[1], "interface", "job_directives_skip", "python"):
        assert f"{option} :" in named or f"{option}:" in named, option
    text = " ".join(PAGES["cluster"].split())
    assert "more than `distributed.scheduler.allowed-failures` deaths, 3 by default" in text
    assert "ends a worker that goes beyond 95 % of it" in text
    assert dask.config.get("distributed.scheduler.allowed-failures") == 3
    assert dask.config.get("distributed.worker.memory.terminate") == 0.95


def test_the_programs_of_the_cluster_page_are_python():
    for block in blocks("cluster", "python"):
        compile(block, "cluster.md", "exec")
