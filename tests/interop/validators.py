"""The validators that every SR of ours goes through, and what each may say.

None of their exit codes can be trusted: lines are counted.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import pydicom
from pydicom.dataset import Dataset

from tests.helpers import NODE_FOLDER, real_dcmtk, require, require_node_package, require_python_tool

PIXELMED_JAR = "/usr/share/java/pixelmed.jar"
#: dciodvfy's only accepted warning: it does not know private coding schemes, which PS3.3 8.2 allows: ours, which the object
#: identifies, and the one of a site's own procedure code
_PRIVATE_SCHEME = re.compile(r"Unrecognized defined term = <(99LMSSR|99SITE|2\.25\.\d+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseError:
    """An error of PixelMed that is none."""

    #: what it says; ``at`` is the place of the item in the tree, counted as PixelMed does ("1.22.3": third child of the 22nd of the root)
    pattern: re.Pattern[str]
    #: whether the item is of the kind that makes it none
    holds: Callable[[Dataset], bool]
    why: str


def _is_no_volume(group: Dataset) -> bool:
    (template,) = group.ContentTemplateSequence
    names = {c.ConceptNameCodeSequence[0].CodeValue for c in group.ContentSequence}
    return bool(template.TemplateIdentifier == "1501") and "121191" not in names


def is_no_number(item: Dataset) -> bool:
    """Say whether an item is a NUM without a number."""
    return bool(item.get("ValueType") == "NUM" and not item.MeasuredValueSequence)


PIXELMED_ALLOWED = (
    FalseError(
        pattern=re.compile(r'"Procedure reported"\): Code \(\w+,99SITE,.*\) not found in context group 100'),
        holds=lambda _: True,
        why="CID 100 is extensible, and a site's own procedure code passes through unchanged",
    ),
    FalseError(
        pattern=re.compile(
            r'"Person Observer.s Role in this Procedure"\): Code \((C28747|C54634),NCIt,"(Reader|Reviewer)"\) not found in context group 7453$'
        ),
        holds=lambda _: True,
        why="CID 7453 has both by now (pydicom's table of it) and is extensible; the validator has the one of 2008",
    ),
    FalseError(
        pattern=re.compile(
            r'Template 1411 VolumetricROIMeasurements/.*/\[Row (5|7|10)\] (SCOORD|IMAGE|SCOORD3D) \((111030|121191|121231),DCM,"[^"]*"\): '
            r"within (?P<at>[\d.]+): .*: Missing conditional content item$"
        ),
        holds=_is_no_volume,
        why="it takes every group for TID 1411 once one is; this one says that it is TID 1501, which has no region",
    ),
    FalseError(
        pattern=re.compile(r"Template (300|1419) .*\] NUM .*?: (?P<at>1[\d.]*): /.*: Missing value$"),
        holds=lambda item: is_no_number(item) and bool(item.get("NumericValueQualifierCodeSequence")),
        why="PS3.3 C.18.1: Measured Value Sequence may be empty, and the qualifier then says why there is no number",
    ),
)
#: runs PixelMed on many files at a cost that is mostly paid once
_PIXELMED_MANY = """
import com.pixelmed.validate.DicomSRValidator;

public class PixelmedMany {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("FILE " + file);
            System.out.println(validator.validate(file));
        }
    }
}
"""
_JAVA = (
    "-XX:+UseSerialGC",
    *(f"-Djdk.xml.{limit}=0" for limit in ("xpathExprGrpLimit", "xpathExprOpLimit", "xpathTotalOpLimit")),
    "-cp",
    PIXELMED_JAR,
)


def run(*command: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says."""
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, errors="replace", timeout=timeout, check=False
    )


def dciodvfy(path: Path) -> list[str]:
    """Return the errors of dciodvfy, and its warnings but those about the private scheme."""
    done = run(require_python_tool("dciodvfy"), "-new", path)
    said = (done.stdout + done.stderr).splitlines()
    assert any(line.strip() in {"ComprehensiveSR", "Comprehensive3DSR", "EnhancedSR"} for line in said), said[:3]
    errors = [line for line in said if line.startswith("Error")]
    warnings = [line for line in said if line.startswith("Warning") and not _PRIVATE_SCHEME.search(line)]
    return errors + warnings


def pixelmed(path: Path) -> list[str]:
    """Return the errors of PixelMed's DicomSRValidator but those that are allowed."""
    require(PIXELMED_JAR, "apt install libpixelmed-java")
    java = require("java", "apt install default-jre-headless")
    # most of its time for one file goes into compiling its rules: a light compiler halves that
    done = run(java, "-XX:TieredStopAtLevel=1", *_JAVA, "com.pixelmed.validate.DicomSRValidator", path)
    return _pixelmed_errors(path, done.stdout, done.stderr)


def pixelmed_many(paths: Sequence[Path], folder: Path) -> dict[Path, list[str]]:
    """Return the same for many files, in one run; needs a Java compiler."""
    require(PIXELMED_JAR, "apt install libpixelmed-java")
    require("javac", "apt install default-jdk-headless")
    source = folder / "PixelmedMany.java"
    source.write_text(_PIXELMED_MANY)
    done = run("java", *_JAVA, source, *paths, timeout=60 + 60 * len(paths))
    assert done.returncode == 0, done.stderr[-2000:]
    parts = done.stdout.split("FILE ")[1:]
    assert [p.split("\n", 1)[0] for p in parts] == [str(p) for p in paths]
    return {path: _pixelmed_errors(path, part, done.stderr) for path, part in zip(paths, parts, strict=True)}


def _pixelmed_errors(path: Path, said: str, complained: str) -> list[str]:
    lines = (said + complained).splitlines()
    assert "IOD validation complete" in said, lines[-5:]
    errors = [line for line in lines if line.startswith("Error")]
    root = pydicom.dcmread(path) if errors else Dataset()
    return [line for line in errors if not any(_is_false(line, root, a) for a in PIXELMED_ALLOWED)]


def _is_false(line: str, root: Dataset, allowed: FalseError) -> bool:
    found = allowed.pattern.search(line)
    if found is None:
        return False
    item = root
    for number in found.groupdict().get("at", "1").split(".")[1:]:
        item = item.ContentSequence[int(number) - 1]
    return allowed.holds(item)


def dsrdump(path: Path) -> str:
    """Return dcmtk's dump; its parser refuses what breaks the relationships of the class."""
    done = run(real_dcmtk("dsrdump"), path)
    assert done.returncode == 0, done.stderr
    assert "E: " not in done.stderr, done.stderr
    return done.stdout


def dsr2html(path: Path) -> str:
    """Return dcmtk's page without its tags, one line for each line that a reader sees."""
    done = run(real_dcmtk("dsr2html"), path)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"<title>.*?</title>", "", done.stdout, flags=re.DOTALL)
    text = re.sub(r"<br>|</p>|</div>|</h\d>|</tr>", "\n", text)
    text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\n\s*\n+", "\n", re.sub(r"[ \t]+", " ", text))


def read_lines(path: Path) -> list[str]:
    """Return the lines of dsr2html's page, each value beside its name."""
    lines: list[str] = []
    for line in (part.strip() for part in dsr2html(path).splitlines()):
        if lines and lines[-1].endswith(":"):
            lines[-1] += f" {line}"
        elif line:
            lines.append(line)
    return lines


def tid1500reader(path: Path, folder: Path) -> dict[str, object]:
    """Return dcmqi's reading of the measurements."""
    target = folder / f"{path.stem}.json"
    done = run(require_python_tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", target)
    assert done.returncode == 0, done.stdout + done.stderr
    read: dict[str, object] = json.loads(target.read_text())
    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The measurement groups that a reader finds, and how many numbers stand in them."""

    volumes: int
    others: int
    numbers: int


def highdicom(path: Path) -> Groups:
    """Return what highdicom's own parser finds.

    It asks an empty Measured Value Sequence (PS3.3 C.18.1 allows one) for its first item, and stops: without those it reads the rest.
    """
    ds = pydicom.dcmread(path)
    if _without_empty(ds):
        path = path.with_suffix(".numbers.dcm")
        ds.save_as(path, enforce_file_format=True)
    report = hd.sr.srread(path).content
    assert isinstance(report, hd.sr.MeasurementReport)
    volumes = report.get_volumetric_roi_measurement_groups()
    assert report.get_planar_roi_measurement_groups() == []
    others = report.get_image_measurement_groups()
    return Groups(
        volumes=len(volumes),
        others=len(others),
        numbers=sum(len(g.get_measurements()) for g in (*volumes, *others)),
    )


def _without_empty(item: Dataset) -> bool:
    """Take the numbers that are none out of a tree; say whether there was one."""
    children = item.get("ContentSequence") or ()
    kept = [c for c in children if not is_no_number(c)]
    found = len(kept) < len(children)
    if found:
        item.ContentSequence = kept
    return any([found, *(_without_empty(c) for c in kept)])


def hydrate(path: Path, images: Path) -> dict[str, object]:
    """Return what @cornerstonejs/adapters makes of a companion: tool name → annotations, and OHIF's loader rules."""
    require_node_package("@cornerstonejs/adapters")
    done = run("node", NODE_FOLDER / "hydrate.mjs", f"--images={images}", path)
    assert done.returncode == 0, done.stderr[-2000:]
    read: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return read
