"""Making the lock of jars anew from `ivy.xml`: `python -m millrace.local.jars_lock` (part of `make lock`).

Ivy looks up everything that the named jars need; what it found is written as a list of exact files that
needs no look-ups (`jars.lock.xml`), with the sha256 of each (`jars.lock.json`).
"""

from __future__ import annotations

import json
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.sax.saxutils import quoteattr

from millrace.local import ivy
from millrace.local.jars import GROUPS, LOCK, LOCKED_IVY_FILE, sha256

WANTED = Path(__file__).with_name("ivy.xml")
CLASSIFIER = "{http://ant.apache.org/ivy/extra}classifier"
MAVEN_CLASSIFIER = "{http://ant.apache.org/ivy/maven}classifier"


def main() -> None:
    """Resolve, download and write both lock files. Raises StackError."""
    with tempfile.TemporaryDirectory() as directory:
        target, cache = Path(directory) / "jars", Path(directory) / "cache"
        ivy.retrieve(WANTED, GROUPS, target, cache, transitive=True)
        lines = [line for group in GROUPS for line in _locked(cache, group)]
        digests = {
            f"{path.parent.name}/{path.name}": sha256(path)
            for group in GROUPS
            for path in sorted((target / group).glob("*.jar"))
        }
    LOCKED_IVY_FILE.write_text(_ivy_file(lines), encoding="utf-8")
    LOCK.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    print(f"{len(digests)} jars locked in {LOCK}")


def _locked(cache: Path, group: str) -> list[str]:
    """One exact dependency per artifact in Ivy's resolution report of a group."""
    (report,) = cache.glob(f"*-{group}.xml")
    lines = set()
    for module in ElementTree.parse(report).iter("module"):  # noqa: S314 - Ivy's own report
        for revision in module.iter("revision"):
            if revision.get("evicted"):
                continue
            for artifact in revision.iter("artifact"):
                name = quoteattr(module.get("name", ""))
                classifier = artifact.get(CLASSIFIER) or artifact.get(MAVEN_CLASSIFIER) or ""
                if module.get("name") == "s3proxy":  # Ivy's report leaves the classifier out
                    classifier = "jar-with-dependencies"
                extra = f" m:classifier={quoteattr(classifier)}" if classifier else ""
                lines.add(
                    f"    <dependency org={quoteattr(module.get('organisation', ''))} name={name} "
                    f'rev={quoteattr(revision.get("name", ""))} conf="{group}->default" transitive="false">'
                    f'<artifact name={name} type="jar" ext="jar" conf="{group}"{extra}/></dependency>'
                )
    return sorted(lines)


def _ivy_file(lines: list[str]) -> str:
    groups = "".join(f'<conf name="{group}"/>' for group in GROUPS)
    return "\n".join(
        [
            "<!-- Made by `make lock` from ivy.xml: every jar, exactly, without look-ups. -->",
            '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">',
            '  <info organisation="millrace" module="locked" revision="1"/>',
            f"  <configurations>{groups}</configurations>",
            "  <dependencies>",
            *lines,
            "  </dependencies>",
            "</ivy-module>",
            "",
        ]
    )


if __name__ == "__main__":
    main()
