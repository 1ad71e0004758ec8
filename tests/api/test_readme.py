"""The README's walk through the three steps, run word for word."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.service_process import plain_environment, running

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="bash or curl is not installed")
def test_the_three_steps_answer_as_the_readme_says(tmp_path: Path) -> None:
    section = README.read_text(encoding="utf-8").partition("## The three steps")[2].partition("\n## ")[0]
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    promised = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)]
    with running(
        [sys.executable, "-m", "mfa_service", "--set", "ops.port=0", "serve", "--port", "0"], folder=tmp_path
    ) as service:
        added = subprocess.run(
            [sys.executable, "-m", "mfa_service", "applications", "add", "shop", "--json"],
            cwd=tmp_path,
            env=plain_environment(),
            capture_output=True,
            check=True,
        )
        credentials = json.loads(added.stdout)
        client = f"{credentials['client_id']}:{credentials['client_secret']}"
        script = re.sub(r"^CLIENT=.*$", f"CLIENT={client}", script, flags=re.MULTILINE)
        script = re.sub(r"^API=http://127\.0\.0\.1:8080", f"API={service.url}", script, flags=re.MULTILINE)
        walked = subprocess.run(
            ["bash", "-e", "-c", script],  # noqa: S607  # as a person has it
            cwd=tmp_path,
            env=plain_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
    answers = [json.loads(line) for line in walked.stdout.splitlines()]
    assert [list(answer) for answer in answers] == [list(answer) for answer in promised]
    for answer, told in zip(answers, promised, strict=True):
        for name in ("status", "message", "code", "token_type", "expires_in", "scope", "deviceName"):
            assert answer.get(name) == told.get(name)
