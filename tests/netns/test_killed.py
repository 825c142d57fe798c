# SPDX-License-Identifier: MIT
"""A command that is killed, wherever, leaves what was or what shall be: the next one finishes it.

Each command is killed before its first effect on files, tables or interfaces, then before its
second, and so on, until it ends by itself.
"""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest
from fivehosts import RS1, RS2, SMALL, Lab, require_root
from photo import machine, tables

from xdplb import lab as labs
from xdplb.director import store
from xdplb.director.table_writer import TableWriter
from xdplb.host import namespaces
from xdplb.lab import VIP
from xdplb.model import toml_file

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVICE = ("-t", f"{VIP}:80")
SIZES = [f"--tune={name}={value}" for name, value in SMALL.items()]
AT_MOST = 60  # effects of one command

# Runs `xdplb` with the arguments from the second on, and kills itself before the effect whose
# number is the first argument. An effect is a call of one of these.
KILLED = """
import importlib, os, signal, sys

EFFECTS = {
    "xdplb.director.files": ["write_bytes"],
    "xdplb.kernel.libbpf": [
        "map_update", "map_update_batch", "map_delete", "obj_pin", "link_create", "link_update",
        "link_detach",
    ],
    "xdplb.kernel.service_tables": [
        "ServiceTables.add_vip", "ServiceTables.put_service", "ServiceTables.remove_vip",
        "ServiceTables.remove_service",
    ],
    "xdplb.director.table_writer": ["TableWriter._put_real", "TableWriter.remove_real"],
    "xdplb.host.ip": ["ip"],
    "xdplb.host.sysctls": ["write"],
    "shutil": ["rmtree"],
    "pathlib": ["Path.unlink", "Path.rename"],
}
left = int(sys.argv[1])

def deadly(effect):
    def counted(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return effect(*args, **kwargs)
    return counted

for module, names in EFFECTS.items():
    module = importlib.import_module(module)
    for name in names:
        *owner, name = name.split(".")
        holder = getattr(module, owner[0]) if owner else module
        setattr(holder, name, deadly(getattr(holder, name)))

sys.argv = ["xdplb", *sys.argv[2:]]
from xdplb.cli import main
main()
"""


@pytest.fixture(scope="module")
def lvs() -> Iterator[Lab]:
    """Five hosts without servers: nobody asks. Nothing is attached."""
    require_root()
    lab = Lab(f"t{uuid.uuid4().hex[:8]}")
    labs.up(lab.name)
    yield lab
    labs.down(lab.name)


def run_killed(lab: Lab, effect: int, *argv: str) -> bool:
    """Run `xdplb`, killed before this effect. Returns: whether it came so far."""
    done = subprocess.run(
        labs.command(lab.name, "lvs", [sys.executable, "-c", KILLED, str(effect), *argv]),
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def consistent(lab: Lab) -> None:
    """Nothing is pending, and the tables are what the state says: to follow it changes nothing."""
    assert not lab.instance.journal.exists()
    state = store.read_state(lab.instance)
    before = tables(lab)
    with namespaces.entered(f"{lab.name}-lvs"):
        TableWriter(store.open_tables(lab.instance, state), state).all()
    assert before == tables(lab)


def configuration(*services: tuple[str, str, list[str]]) -> str:
    """A configuration's text."""
    return "\n".join(
        f"[[service]]\n{key}\nscheduler = '{scheduler}'\nreals = {reals}"
        for key, scheduler, reals in services
    )


BASE = "deny = ['203.0.113.1', '203.0.113.2']\n" + configuration(
    (f'tcp = "{VIP}:80"', "rr", [RS1]), (f'udp = "{VIP}:53"', "rr", [RS1])
)
OTHER = "deny = ['192.0.2.0/24', '192.0.2.7']\n[timeouts]\ntcp = 60\n" + configuration(
    (f'tcp = "{VIP}:80"', "mh", [RS1, f"{RS2} weight=2"]), (f'tcp = "{VIP}:81"', "wrr", [RS2])
)
COMMANDS = {
    "server add": ("server", "add", *SERVICE, "-r", RS2),
    "server del": ("server", "del", *SERVICE, "-r", RS1),
    "apply": ("apply", "{other}"),  # of services, timeouts and prefixes: adds, changes, removes
    "deny add": ("deny", "add", "198.51.100.1", "198.51.100.2"),
    "deny del": ("deny", "del", "203.0.113.1", "203.0.113.2"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_changes(lvs, tmp_path, case):
    """What the killed command leaves, any next command finishes, though it changes nothing."""
    other = tmp_path / "other.toml"
    other.write_text(OTHER)
    command = [word.format(other=other) for word in COMMANDS[case]]
    lvs.attach()
    lvs.apply(BASE)
    before = lvs.xdplb("save")
    lvs.xdplb(*command)
    after = lvs.xdplb("save")

    seen: list[str] = []
    for effect in range(AT_MOST):
        if seen[-1:] != [before]:
            lvs.apply(BASE)
        came_so_far = run_killed(lvs, effect, *command)
        lvs.xdplb("set", "0", "0", "0")
        consistent(lvs)
        seen.append(toml_file.dump(store.read_state(lvs.instance).configuration()))
        if not came_so_far:
            break

    lvs.xdplb("detach", "ens33")
    assert after == seen[-1]
    assert {before, after} == set(seen)
    assert sorted(seen, key=[before, after].index) == seen  # from some effect on it is done


def xdp_of(lab: Lab, ifname: str) -> list[int]:
    """The ids of the programs that an interface runs."""
    (link,) = lab.value("lvs", "ip", "-json", "link", "show", ifname)
    return [each["prog"]["id"] for each in link["xdp"]["attached"]]


def test_upgrade(lvs):
    """Afterwards the interface runs the program of the tables that commands change."""
    lvs.attach()
    lvs.apply(BASE)
    for effect in range(0, AT_MOST, 4):
        sizes = f"--tune=max_reals={512 + effect}"
        came_so_far = run_killed(lvs, effect, "attach", "ens33", "--vip", "192.168.2.101", sizes)
        lvs.xdplb("set", "0", "0", "0")
        consistent(lvs)
        status = lvs.json("status")
        (program,) = xdp_of(lvs, "ens33")
        shown = lvs.value("lvs", "bpftool", "-j", "prog", "show", "id", str(program))
        assert program == status["program"]["id"]
        assert {about["id"] for about in status["maps"].values()} >= set(shown["map_ids"])
        assert "native" == status["interfaces"]["ens33"]["mode"]
        if not came_so_far:
            break
    lvs.xdplb("detach", "ens33")


def test_first_attach(lvs):
    """Attach again finishes it: the services that are wanted are there, and detach works."""
    lvs.attach()
    lvs.apply(BASE)
    lvs.xdplb("detach", "ens33")
    before = machine(lvs)
    for effect in range(1, AT_MOST, 6):
        came_so_far = run_killed(lvs, effect, "attach", "ens33", "--vip", VIP, *SIZES)
        lvs.attach()
        consistent(lvs)
        assert 2 == len(lvs.json("list"))
        assert "native" == lvs.json("status")["interfaces"]["ens33"]["mode"]
        lvs.xdplb("detach", "ens33")
        assert before == machine(lvs)
        if not came_so_far:
            break


def test_detach(lvs):
    """Any next command finishes it: all is taken back."""
    before = machine(lvs)
    for effect in range(1, AT_MOST, 4):
        lvs.attach()
        lvs.apply(BASE)
        came_so_far = run_killed(lvs, effect, "detach", "ens33")
        if came_so_far:
            lvs.try_xdplb("set", "0", "0", "0")
        if store.read_state(lvs.instance).attached:  # it was killed before it had begun
            lvs.xdplb("detach", "ens33")
        assert before == machine(lvs)
        if not came_so_far:
            break
