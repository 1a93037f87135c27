"""Workers on nodes with networks of their own, one of which is cut off for 30 s in the middle of a solve."""

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dualrec.solvers.certificate import certify
from dualrec.solvers.distributed.ray_cluster import room_for
from dualrec.solvers.distributed.ray_engine import RayEngine
from dualrec.solvers.distributed.session import Session
from dualrec.solvers.distributed.shard_writer import write_shards
from dualrec.solvers.distributed.shards import open_shards
from dualrec.solvers.instances import TightFlat

NODES = 4
"""Two for the workers, and one more for each time that one is cut off, as Ray may not take it back."""
PORT = 26379
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def run(*command: str, check: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout[-500:]} {done.stderr[-500:]}"


def can_make_networks() -> bool:
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    made = subprocess.run(["ip", "netns", "add", "dualrec-try"], capture_output=True, check=False).returncode == 0
    subprocess.run(["ip", "netns", "del", "dualrec-try"], capture_output=True, check=False)
    return made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head without workers at 10.77.0.1 and nodes of one core in network namespaces; the name of a node's link is drN."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    clear()
    run("ip", "link", "add", "drbr", "type", "bridge")
    run("ip", "addr", "add", "10.77.0.1/24", "dev", "drbr")
    run("ip", "link", "set", "drbr", "up")
    run(
        *RAY,
        "start",
        "--head",
        "--node-ip-address=10.77.0.1",
        f"--port={PORT}",
        "--num-cpus=0",
        "--disable-usage-stats",
    )
    for node in range(NODES):
        space, outside, inside = f"dualrec{node}", f"dr{node}", f"drin{node}"
        run("ip", "netns", "add", space)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space)
        run("ip", "link", "set", outside, "master", "drbr", "up")
        within = ("ip", "netns", "exec", space)
        run(*within, "ip", "addr", "add", f"10.77.0.{node + 2}/24", "dev", inside)
        run(*within, "ip", "link", "set", inside, "up")
        run(*within, "ip", "link", "set", "lo", "up")
        address = ("--address", f"10.77.0.1:{PORT}", f"--node-ip-address=10.77.0.{node + 2}")
        run(*within, *RAY, "start", *address, "--num-cpus=1", "--disable-usage-stats")
    yield f"10.77.0.1:{PORT}"
    clear()


def clear() -> None:
    run(*RAY, "stop", "--force", check=False)
    for node in range(NODES):
        run("ip", "netns", "del", f"dualrec{node}", check=False)
    run("ip", "link", "del", "drbr", check=False)


class CutEngine(RayEngine):
    """Cuts a node off, for `seconds`, before one of the calls to go on."""

    after, seconds, link, cut_at = 0, 30.0, "", 0.0

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        if method == "run" and self.link:
            self.after -= 1
            if self.after == 0:
                run("ip", "link", "set", self.link, "down")
                self.cut_at = time.perf_counter()
                threading.Timer(self.seconds, run, ("ip", "link", "set", self.link, "up")).start()
        return super().each(method, arguments)


@pytest.mark.slow
@pytest.mark.skipif(not can_make_networks(), reason="network namespaces can be made by root only, with the command ip")
def test_a_worker_is_cut_off_for_half_a_minute(cluster: str, tmp_path: Path) -> None:
    """Two workers on four nodes; the one that is cut off comes back, or another takes its place."""
    import ray

    problem = TightFlat(items=4_000, users=30_000, candidates=500).make(1)
    shards = open_shards(write_shards(problem, tmp_path / "shards", 16))
    (tmp_path / "messages").mkdir()
    ray.init(address=cluster, _node_ip_address="10.77.0.1", log_to_driver=False, configure_logging=False)
    try:
        with room_for(2) as places:
            engine = CutEngine(shards.folder, tmp_path / "messages", 2, places)
            session = Session(shards, engine)
            first = session.step("a", 0.1, 1e-3, 60.0, lambda: False)
            undisturbed = certify(problem, session.chosen(first), first.prices)
            for worker in (0, 1):
                node = ray.get(engine.actors[worker].__ray_call__.remote(lambda _: ray.util.get_node_ip_address()))
                engine.link, engine.after = f"dr{int(node.rpartition('.')[2]) - 2}", 4
                begun = time.perf_counter()
                held = session.step(f"b{worker}", 0.1, 1e-3, 60.0, lambda: False)
                took = time.perf_counter() - begun
                assert engine.cut_at > begun
                chosen, total = session.chosen(held), session.certify(held)
                whole = certify(problem, chosen, held.prices)
                assert total.matches == chosen.size and total.value == pytest.approx(whole.value, rel=1e-12)
                assert whole.gap <= 1e-3 and whole.value == pytest.approx(undisturbed.value, rel=1e-4)
                print(f"{node} cut off for {engine.seconds:.0f} s: {took:.1f} s, gap {whole.gap:.1e}")
                time.sleep(max(0.0, engine.cut_at + engine.seconds + 5 - time.perf_counter()))
            engine.close()
    finally:
        ray.shutdown()
