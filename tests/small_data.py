"""Small data sets as readers have them: in the layout of the Decathlon, and phantoms in that of BraTS 2018."""

import json

import nibabel as nib
import numpy as np

from gbmlib.cohorts import phantom

SIZE = (24, 22, 20)


def decathlon(folder, modalities=("MR",), labels=("organ",), cases=4, shift=0):
    """Write cases of noise whose labels lie side by side along x, each a box; its spec. CT is in Hounsfield units."""
    draw = np.random.default_rng(0)
    for case in range(cases):
        channels = [draw.normal(*((-200, 400) if name == "CT" else (3, 1)), SIZE) for name in modalities]
        channels = [
            channel.astype(np.int16 if name == "CT" else np.float32)
            for name, channel in zip(modalities, channels, strict=True)
        ]
        label = np.zeros(SIZE, np.uint8)
        wide = max(1, (SIZE[0] - 4) // len(labels))
        for number in range(len(labels)):
            start = 2 + number * wide
            label[start : start + wide, 6:14, 5 + shift + case % 3 : 12 + shift] = number + 1
        _save(folder / "imagesTr" / f"a{case}.nii.gz", np.stack(channels, -1) if len(channels) > 1 else channels[0])
        _save(folder / "labelsTr" / f"a{case}.nii.gz", label)
    described = {
        "name": "north",
        "modality": {str(number): name for number, name in enumerate(modalities)},
        "labels": {"0": "background"} | {str(number): name for number, name in enumerate(labels, 1)},
        "training": [{"image": f"imagesTr/a{n}.nii.gz", "label": f"labelsTr/a{n}.nii.gz"} for n in range(cases)],
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    return f"msd:{folder}"


def write_brats(spec, folder):
    """Write phantoms, of a spec without ``phantom:``, as ``HGG/ID/ID_flair.nii.gz`` …, labels 1, 2, 4; the folder."""
    for case in phantom.cohort(spec):
        home = folder / "HGG" / case.id
        for modality, image in zip(case.modalities, case.images(), strict=True):
            case.save(home / f"{case.id}_{modality}.nii.gz", image.astype(np.int16))
        case.write(home / f"{case.id}_seg.nii.gz", case.label())
    return folder


def _save(path, volume):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
