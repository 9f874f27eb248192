"""The validators that every SR of ours goes through, and what each may say.

None of their exit codes can be trusted: lines are counted.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

from tests.helpers import NODE_FOLDER, real_dcmtk, require, require_node_package, require_python_tool

PIXELMED_JAR = "/usr/share/java/pixelmed.jar"
#: dciodvfy's only accepted warning: it does not know private coding schemes, which PS3.3 8.2 allows: ours, which the object
#: identifies, and the one of a site's own procedure code
_PRIVATE_SCHEME = re.compile(r"Unrecognized defined term = <(99LMSSR|99SITE|2\.25\.\d+)>")
#: the errors of PixelMed that are none, each with its reason
_PIXELMED_ALLOWED = (
    # CID 100 is extensible, and a site's own procedure code passes through unchanged
    re.compile(r'"Procedure reported"\): Code \(\w+,99SITE,.*\) not found in context group 100'),
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
    limits = ("xpathExprGrpLimit", "xpathExprOpLimit", "xpathTotalOpLimit")
    done = run(
        require("java", "apt install default-jre-headless"),
        # most of its time goes into compiling its rules: a light compiler and collector halve that
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        *(f"-Djdk.xml.{limit}=0" for limit in limits),
        "-cp",
        PIXELMED_JAR,
        "com.pixelmed.validate.DicomSRValidator",
        path,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert "IOD validation complete" in done.stdout, said[-5:]
    errors = [line for line in said if line.startswith("Error")]
    return [line for line in errors if not any(allowed.search(line) for allowed in _PIXELMED_ALLOWED)]


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


def hydrate(path: Path, images: Path) -> dict[str, object]:
    """Return what @cornerstonejs/adapters makes of a companion: tool name → annotations, and OHIF's loader rules."""
    require_node_package("@cornerstonejs/adapters")
    done = run("node", NODE_FOLDER / "hydrate.mjs", f"--images={images}", path)
    assert done.returncode == 0, done.stderr[-2000:]
    read: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return read
