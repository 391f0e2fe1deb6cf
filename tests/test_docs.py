"""The documents say what is true."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batches.errors import by_code

PROJECT = Path(__file__).parent.parent


def read(name: str) -> str:
    return (PROJECT / name).read_text()


def test_every_setting_is_named_in_the_example():
    used = set(re.findall(r'env\.\w+\("(\w+)"', read("ocrsite/settings.py")))
    named = set(re.findall(r"^(\w+)=", read(".env.example"), re.MULTILINE))
    assert used == named


def test_the_example_is_a_configuration_that_works(tmp_path: Path):
    lines = [line for line in read(".env.example").splitlines() if "=" in line and not line.startswith("#")]
    env = dict(line.split("=", 1) for line in lines) | {
        "SECRET_KEY": hashlib.sha256(b"").hexdigest(),
        "DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    answer = subprocess.run(command, cwd=PROJECT, env=os.environ | env, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_every_package_has_its_reason_in_the_readme():
    direct = read("requirements.txt").split("# What those need")[0]
    packages = re.findall(r"^([a-z][\w-]*)", direct, re.MULTILINE | re.IGNORECASE)
    assert len(packages) > 10
    for package in packages:
        assert package in read("README.md").lower(), package


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-bench.txt"])
def test_every_package_is_pinned(name: str):
    for line in read(name).splitlines():
        assert not line or line.startswith(("#", "-r ")) or "==" in line, line


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_every_command_and_file_that_is_named_exists(name: str):
    text = read(name)
    targets = set(re.findall(r"^(\w[\w-]*):", read("Makefile"), re.MULTILINE))
    for target in re.findall(r"\bmake ([a-z]+)\b", text):
        assert target in targets | {"sure"}, target
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (PROJECT / path).exists(), path


def test_the_version_is_the_changelogs():
    version = re.search(r'^version = "(.+)"', read("pyproject.toml"), re.MULTILINE)
    assert version
    assert f"## {version[1]}" in read("CHANGELOG.md")


def test_vendored_files_are_what_they_say():
    rows = re.findall(
        r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", read("batches/static/vendor/README.md"), re.MULTILINE
    )
    assert rows
    for name, digest in rows:
        content = (PROJECT / "batches" / "static" / "vendor" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


def test_the_list_of_failures_is_the_products():
    told = re.findall(r"^\| `(\w+)` \| (.+) \| (yes|no) \| (.+) \|$", read("docs/failures.md"), re.MULTILINE)
    assert told == [
        (code, error.title, "yes" if error.retryable else "no", error.message)
        for code, error in by_code().items()
    ]
    assert len({error.title for error in by_code().values()}) == len(told)
