"""Which Ray cluster a sweep works on, and what it leaves of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from harness.errors import InfrastructureError, UsageError

ray = pytest.importorskip("ray", reason="needs harness[ray]")
from harness.sweep.engines.ray import RayConfig, RayEngine  # noqa: E402

pytestmark = [pytest.mark.extras, pytest.mark.usefixtures("alone_on_ray")]

SCRIPT = """
import json, sys, psutil
from pathlib import Path
from harness.sweep.engines.ray import RayConfig, engine
import ray

events = list(engine.run(sys.argv[1:], 2, [], RayConfig(), Path()))
print(json.dumps([len(events), events[-1].reason, ray.is_initialized(),
                  len(psutil.Process().children(recursive=True))]))
"""
SEEN = """
import json, sys, time, psutil
from pathlib import Path
from harness.sweep.engines import ray as own
import ray

with own._cluster(2) as ours:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    heard = {c.laddr.ip for p in family for c in p.net_connections() if c.status == "LISTEN"}
    usage = own.os.environ["RAY_USAGE_STATS_ENABLED"]
    told = [ours, sorted(heard), usage, ray.cluster_resources()["CPU"], [p.pid for p in family]]
    print(json.dumps(told), flush=True)
    time.sleep(100)
"""


def said_by(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_cluster_of_its_own_is_started_and_ended():
    before = set(Path(tempfile.gettempdir()).glob("ray-*"))
    events, reason, connected, children = said_by(SCRIPT, '{"request": {"device": "cpu"}}')
    assert events == 2
    assert "its worker failed: ValidationError" in reason
    assert (connected, children) == (False, 0)
    assert set(Path(tempfile.gettempdir()).glob("ray-*")) <= before


def test_its_own_cluster_hears_this_machine_only_and_dies_with_the_sweep():
    owner = subprocess.Popen([sys.executable, "-c", SEEN], stdout=subprocess.PIPE, text=True)
    line = ""
    while not line.startswith("["):
        line = owner.stdout.readline()
        assert line, "it ended before it said anything"
    ours, heard, usage, cpus, family = json.loads(line)
    assert (ours, usage, cpus) == (True, "0", 2)
    assert {ip.removeprefix("::ffff:") for ip in heard} == {"127.0.0.1"}
    # Ray's agents look now and then whether their cluster is there, and end some time later.
    processes = [
        process
        for process in psutil.process_iter(["name"])
        if process.pid in family and "Agent" not in process.info["name"]
    ]
    assert len(processes) > 2
    owner.kill()
    owner.communicate()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("auto", ConnectionError("nobody there")),
        ("nowhere", ValueError("no address")),
        (None, RuntimeError("version mismatch")),
    ],
)
def test_a_cluster_that_cannot_be_used_is_said(monkeypatch, tmp_path, address, error):
    def refuses(**_):
        raise error

    monkeypatch.setattr(ray, "init", refuses)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    run = RayEngine().run(["{}"], 1, [], RayConfig(), tmp_path)
    with pytest.raises(InfrastructureError, match="RAY_ADDRESS") as caught:
        next(run)
    for part in (str(error), address or "this machine"):
        assert part in str(caught.value)


def test_an_address_where_nobody_listens_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would try for minutes"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    run = RayEngine().run(["{}"], 1, [], RayConfig(), tmp_path)
    with pytest.raises(InfrastructureError, match=r"127.0.0.1:1 .*refused"):
        next(run)


def test_single_gpus_are_refused(tmp_path):
    run = RayEngine().run(["{}"], 1, ["cuda:1"], RayConfig(), tmp_path)
    with pytest.raises(UsageError, match="pass cuda, not cuda:1"):
        next(run)
