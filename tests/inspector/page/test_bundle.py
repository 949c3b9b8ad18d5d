"""The committed bundle is what esbuild makes of the source, and small; the source has the types that it says."""

import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from regard.inspector.page.frames import MODULE, script

PAGE = Path(str(files("regard.inspector.page")))


def test_the_bundle_is_small_and_asks_for_nothing():
    text = script(MODULE)
    assert len(text.encode()) <= 300_000
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


@pytest.mark.parametrize("command", [["esbuild"], ["tsc"]], ids=str)
def test_it_is_made_of_the_source(command, tmp_path):
    tool = PAGE / "node_modules" / ".bin" / command[0]
    if not tool.exists():
        pytest.skip(f"{command[0]} is not installed: `make page` installs it where Node is")
    options = {
        "esbuild": [
            *("src/main.js", "--bundle", "--format=esm", "--target=es2022", "--minify", "--charset=utf8"),
            *("--legal-comments=none", f"--outfile={tmp_path / MODULE}"),
        ],
        "tsc": ["--project", "jsconfig.json"],
    }
    done = subprocess.run([tool, *options[command[0]]], cwd=PAGE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if command[0] == "esbuild":
        assert (tmp_path / MODULE).read_text() == script(MODULE), "run `make page` to bundle the page again"
