"""The fence: what a rearrangement of the code must not move, gathered as plain text, and two such folders compared.

    python tests/fence.py gather OUT [--book _build/html] [--exact]
    python tests/fence.py compare BEFORE AFTER

``gather`` writes into the folder OUT, for ``compare`` and for ``diff -r``:

- ``records.txt``: digests of the published files; the id of each configuration, computed anew, must be its folder's;
- ``catalogue.txt``: scale and id of every run that the book lists;
- ``verdicts.txt``: the verdict on each claim, from the published records alone;
- ``bits.txt``: digests of what a small training of each network leaves behind;
- ``pages/NAME.txt``: what a reader sees on a page: a line for a sentence and for a row of a table, digests of pictures
  and of viewers' data. Code cells are left out, and what two builds of one source need not share is masked;
- ``pages/NAME.plots.txt``: the data of the page's plots, a line for a number or a text.

Build both books alike and on one machine: ``make book PARAMETERS="-p profile test"``. If the second is built on a copy
of the first one's folder ``runs``, nothing is trained again, and ``--exact`` can leave everything unmasked.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bs4 import BeautifulSoup, NavigableString, Tag

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "book/records"

# ------------------------------------------------ all that is asked of the library: to be adapted when its modules move

VERDICTS = ("-m", "gbmlib", "verdicts", "--published", str(RECORDS), "--store")  # the folder of a store follows


def listed_runs() -> set[tuple[str, str]]:
    """Scale and id of all runs that the book lists."""
    from gbmlib.study import catalogue, scales

    listed = [(scale, catalogue.runs_of(name, scale)) for scale in scales.PROFILES for name in catalogue.SETS]
    return {(scale, run.id) for scale, groups in listed for runs in groups.values() for run in runs}


def id_of(configuration: dict[str, Any]) -> str:
    """The id of what a ``config.json`` holds."""
    from gbmlib.study import Ensemble, Experiment

    return (Ensemble if "members" in configuration else Experiment)(**configuration).id


def small_runs(store: str) -> list[Path]:
    """Train one small network of each kind, in one thread; the folders of the runs."""
    from gbmlib.study import nnunet, run, scales
    from gbmlib.study.records import Store

    runs = [scales.vnet("test")[0], scales.paper_a("test")[0], nnunet.glioma("test", 3)[0]]
    return [record.path for record in run(runs, Store(store), device="cpu", progress=False)]


# ------------------------------------------------------------------------------------------ what is masked and left out

#: What no two builds share: a picture of points scattered at random, and memory that was measured meanwhile.
VOLATILE = re.compile(r"(?<=a point for each case\] \[picture )[0-9a-f]+|‹measured \(MB\).*")

#: What chapters that trained their own runs do not share either: commits, times, days, minutes; heads of such columns.
MASKED = re.compile(
    r"(?<=\bcommit )[0-9a-f]{7,40}( with changes)?|\b20\d\d-\d\d-\d\d \d\d:\d\d|\b\d{1,2} [A-Z][a-z]+ 20\d\d\b|"
    rf"\b[\d.]+(?= minutes)|{VOLATILE.pattern}|‹.*?›"
)
MEASURED = re.compile("minutes|peak memory|^measured|^commit$")

#: Elements of a page that hold no text for its reader, or what stands elsewhere too.
LEFT_OUT = "style, nav, a.headerlink, .prev-next-area, .cell_input, details.above-input"

#: Elements that do not end a line.
INLINE = {"a", "abbr", "b", "bdi", "cite", "code", "em", "i", "kbd", "math", "small", "span", "strong", "sub", "sup"}

#: What is kept of plots, by the name in plotly's data: of traces, and of the layout.
TRACES = re.compile(r"\.(type|name|x|y|z|base|text|customdata|hover\w+|array|arrayminus)(\[\d+\])*$")
LAYOUT = re.compile(r"\.(type|text|x0|x1|y0|y1|range|categoryarray|ticktext|tickvals)(\[\d+\])*$")


def gather(out: Path, book: Path, exact: bool) -> None:
    """Write everything that must not move into a folder, in place of what was gathered there before.

    Raises:
        FileNotFoundError: there is no built book.
        ValueError: a published folder has another name than its configuration.
    """
    if not (book / "book").is_dir():
        raise FileNotFoundError(f"{book} holds no built book")
    for old in (out / "pages").glob("*.txt"):
        old.unlink()
    for path in sorted((book / "book").rglob("*.html")):
        text, plots = page(path, exact)
        write(out / f"pages/{path.stem}.txt", text)
        write(out / f"pages/{path.stem}.plots.txt", plots)
    write(out / "records.txt", published())
    write(out / "catalogue.txt", sorted(" ".join(pair) for pair in listed_runs()))
    with tempfile.TemporaryDirectory() as store:
        printed = subprocess.check_output([sys.executable, *VERDICTS, store], cwd=ROOT, encoding="utf-8")
        write(out / "verdicts.txt", sorted(printed.splitlines()))
        bits = [
            path / name for path in small_runs(store) for name in ("weights.safetensors", "history.csv", "cases.csv")
        ]
        write(out / "bits.txt", [f"{path.relative_to(store)} {digest(path.read_bytes())}" for path in bits])


def write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def published() -> list[str]:
    """A line for each file of the published records, with its digest."""
    paths = sorted(path for path in RECORDS.rglob("*") if path.is_file())
    for path in paths:
        if path.name == "config.json" and (name := id_of(json.loads(path.read_bytes()))) != path.parent.name:
            raise ValueError(f"the configuration in {path.parent} has the id {name}")
    return [f"{path.relative_to(RECORDS).as_posix()} {digest(path.read_bytes())}" for path in paths]


def page(path: Path, exact: bool = False) -> tuple[list[str], list[str]]:
    """The lines of a page's text, a sentence or a row each, and those of its plots' data."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    content = soup.select_one("article") or soup
    for element in content.select(LEFT_OUT):
        element.decompose()
    plots: list[str] = []
    lines = [" ".join(line.split()) for line in text_of(content, path.parent, plots).split("\n")]
    lines = [part for line in lines if line for part in re.split("(?<=[.;:!?]) ", line)]
    mask = MASKED if path.parent.name == "runs" and not exact else VOLATILE
    return [mask.sub("…", line) for line in lines], [mask.sub("…", line) for line in plots]


def text_of(element: Tag, folder: Path, plots: list[str]) -> str:
    """The visible text of an element of a page in a folder; the data of plots in it are appended to ``plots``."""
    text = ""
    for child in element.children:
        if type(child) is NavigableString:
            text += child.replace("\n", " ")
        elif isinstance(child, Tag):
            text += f" [{label}] " if (label := child.get("aria-label") or child.get("alt")) else ""
            if child.name == "script":
                text += "".join(f"\n{line}\n" for line in data_of(child, plots))
            elif child.name == "img":
                held = child["src"].startswith("data:")
                text += f"[picture {digest(child['src'].encode() if held else (folder / child['src']).read_bytes())}]\n"
            elif child.name == "table":
                text += "".join(f"\n{row}\n" for row in rows_of(child, folder, plots))
            else:
                end = "" if child.name in INLINE else "\n"
                text += end + text_of(child, folder, plots) + end
    return text


def rows_of(table: Tag, folder: Path, plots: list[str]) -> Iterator[str]:
    """The rows of a table, their cells between bars; those that were measured are marked."""
    heads: list[str] = []
    for row in table.find_all("tr"):
        cells = [" ".join(text_of(cell, folder, plots).split()) for cell in row.find_all(["th", "td"])]
        if heads and len(heads) == len(cells):
            pairs = zip(heads, cells, strict=True)
            cells = [f"‹{head} {cell}›" if MEASURED.search(head) else cell for head, cell in pairs]
        heads = heads or cells
        yield f"| {' | '.join(cells)} |"


def data_of(script: Tag, plots: list[str]) -> list[str]:
    """The data of a viewer in a line for each value; of a plot its number, and the data into ``plots``."""
    code = script.string or ""
    if script.get("type") == "application/json":
        return [f"[{path} {value}]" for path, value in values_of(json.loads(code), script.get("class", ["data"])[0])]
    if (start := code.find("Plotly.newPlot(")) < 0:
        return []
    decoder = json.JSONDecoder(object_hook=_array)
    traces, end = decoder.raw_decode(code, code.index("[", start))
    layout, _ = decoder.raw_decode(code, code.index("{", end))
    layout.pop("template", None)
    number = 1 + sum(line.startswith("plot ") for line in plots)
    kept = [pair for pair in values_of(traces, f"{number} trace") if TRACES.search(pair[0])]
    kept += [pair for pair in values_of(layout, f"{number} layout") if LAYOUT.search(pair[0])]
    plots += [f"plot {number}", *(" ".join(pair) for pair in kept)]
    return [f"[plot {number}]"]


def _array(entry: dict[str, Any]) -> Any:
    """Plotly's binary arrays as lists."""
    if "bdata" not in entry:
        return entry
    values = np.frombuffer(base64.b64decode(entry["bdata"]), entry["dtype"])
    return values.reshape([int(size) for size in str(entry.get("shape", values.size)).split(",")]).tolist()


def values_of(data: Any, path: str) -> Iterator[tuple[str, str]]:
    """Paths and values in nested lists and dictionaries: numbers to six digits, long texts as a digest."""
    if isinstance(data, dict | list):
        for name, value in sorted(data.items()) if isinstance(data, dict) else enumerate(data):
            yield from values_of(value, f"{path}.{name}" if isinstance(name, str) else f"{path}[{name}]")
    elif isinstance(data, str):
        yield path, " ".join(data.split()) if len(data) < 300 else digest(data.encode())
    else:
        yield path, f"{data:.6g}" if isinstance(data, float) else str(data)


def compare(before: Path, after: Path, most: int = 12) -> list[str]:
    """What differs between two gathered folders, at most so many lines of each file; empty if nothing does."""
    report = []
    for name in sorted({path.relative_to(folder) for folder in (before, after) for path in folder.rglob("*.txt")}):
        texts = [path.read_text("utf-8").split("\n") if path.exists() else [] for path in (before / name, after / name)]
        changed = [line for line in difflib.unified_diff(*texts, n=0, lineterm="") if line[0] != "@"][2:]
        report += [f"== {name}: {len(changed)} lines"] * bool(changed) + changed[:most]
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("gather", "compare"))
    parser.add_argument("folders", type=Path, nargs="+", help="OUT of gather; BEFORE and AFTER of compare")
    parser.add_argument("--book", type=Path, default=ROOT / "_build/html", help="that gather reads")
    parser.add_argument("--exact", action="store_true", help="mask nothing: for books that were built on the same runs")
    asked = parser.parse_args()
    if len(asked.folders) != (1 if asked.action == "gather" else 2):
        parser.error("gather takes one folder, compare two")
    if asked.action == "gather":
        return gather(*asked.folders, asked.book, asked.exact)
    if lacking := [str(folder) for folder in asked.folders if not (folder / "bits.txt").exists()]:
        parser.error(f"nothing was gathered in {' and '.join(lacking)}")
    report = compare(*asked.folders)
    print("\n".join(report) or "nothing differs")
    sys.exit(bool(report))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
