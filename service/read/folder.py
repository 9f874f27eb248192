"""A folder of files to instances, without the service: for composing and measuring offline."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from service.errors import InputError
from service.model.study import Instance, Study
from service.read.headers import read_instance
from service.read.normalise import normalise


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What a folder holds."""

    root: Path
    #: ordered by Study Instance UID
    studies: tuple[Study, ...]
    #: why files were left out, sorted
    refused: tuple[str, ...]

    def open_file(self, instance: Instance) -> Path:
        """Return the file of an instance of one of the studies."""
        return self.root / instance.path


def read_folder(folder: Path, *, default_issuer: str = "") -> Folder:
    """Read every DICOM file below ``folder``; links are not followed.

    Parameters
    ----------
    folder:
        Any depth of folders; what is no DICOM file is said in ``refused``.
    default_issuer:
        As for `service.read.normalise.normalise`.

    Raises
    ------
    InputError
        ``folder`` is no folder.
    StoreUnavailable
        A file cannot be read.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder"
        raise InputError(msg)
    studies: dict[str, list[Instance]] = defaultdict(list)
    refused = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        try:
            instance = read_instance(path, path=str(path.relative_to(folder)))
        except InputError as error:
            refused.append(str(error))
        else:
            studies[instance.study_instance_uid].append(instance)
    return Folder(
        root=folder,
        studies=tuple(normalise(studies[uid], default_issuer=default_issuer) for uid in sorted(studies)),
        refused=tuple(sorted(refused)),
    )
