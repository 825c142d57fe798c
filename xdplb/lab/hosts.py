# SPDX-License-Identifier: MIT
"""The five hosts as network namespaces: build them, remove them, run something on one."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from xdplb.errors import AlreadyExists, MissingPart, XdplbError
from xdplb.host import namespaces, netlink, sysctls
from xdplb.kernel import libbpf
from xdplb.lab import instances, names, processes
from xdplb.lab.topology import HOSTS, NETWORKS, Host, on_network

_BRIDGE = "br0"
_DIRECTOR = "lvs"
_XDP_PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2; exit

# Stated, because a new namespace inherits what the initial one has: what `xdplb realserver setup`
# changes begins with the kernel's own defaults.
_IPV4_SETTINGS = {"rp_filter": 0, "arp_ignore": 0, "arp_announce": 0}

# IPv6 says nothing by itself that would move a counter: no duplicate address detection, and no
# router solicitation (accept_ra). MLD reports cannot be switched off, so they are sent at once: the
# kernel draws their delay below this many ms, and 1 is one jiffy at most. From 6.2 on, it takes 0
# for any delay.
_IPV6_SETTINGS = {
    "disable_ipv6": 0,
    "accept_dad": 0,
    "accept_ra": 0,
    "mldv1_unsolicited_report_interval": 1,
    "mldv2_unsolicited_report_interval": 1,
}


@dataclass(frozen=True)
class HostStatus:
    """One host of a lab as it is now; `web_pid` is its web server's process."""

    name: str
    namespace: str
    addresses: tuple[str, ...]
    exists: bool
    web_pid: int | None


# Building and removing


def up(lab: str = names.DEFAULT_NAME) -> None:
    """Build a lab, after removing what a crash may have left of it; all of it or nothing.

    Raises: AlreadyExists if it is up, UsageError, NoPermission, KernelRefused, MissingPart.
    """
    names.check_name(lab)
    names.check_root()
    with names.locked():
        if _complete(lab):
            raise AlreadyExists(
                f"lab '{lab}' is up already", names.mend(lab, "take it down", "down")
            )
        _remove(lab)
        try:
            _build(lab)
        except BaseException:  # Ctrl-C too must leave nothing behind
            _remove(lab)
            raise


def down(lab: str = names.DEFAULT_NAME) -> None:
    """Remove a lab, whole or half-built: its recorded processes, namespaces, directors and files.

    Raises: UsageError, NoPermission.
    """
    names.check_name(lab)
    names.check_root()
    with names.locked():
        _remove(lab)


def status(lab: str = names.DEFAULT_NAME) -> tuple[HostStatus, ...]:
    """Tell how each host is, in the order of the reference case. Raises: UsageError."""
    names.check_name(lab)
    return tuple(
        HostStatus(
            name=host.name,
            namespace=names.namespace_of(lab, host.name),
            addresses=tuple(" ".join((i.name, *_usable(i.addresses))) for i in host.interfaces),
            exists=(namespaces.NAMESPACES / names.namespace_of(lab, host.name)).exists(),
            web_pid=processes.running(lab, host.name, "nginx"),
        )
        for host in HOSTS.values()
    )


def _complete(lab: str) -> bool:
    """Tell a lab that is up from what a crash left: the mark is written last."""
    whole = all((namespaces.NAMESPACES / name).exists() for name in names.namespaces_of(lab))
    return whole and (names.directory(lab) / "up").exists()


def _build(lab: str) -> None:
    names.directory(lab).mkdir()
    for name in names.namespaces_of(lab):
        namespaces.create(name)
    for host in HOSTS.values():
        with namespaces.entered(names.namespace_of(lab, host.name)):
            _set_defaults(host)
    for network in NETWORKS:
        with namespaces.entered(names.namespace_of(lab, network)):
            _lay_network(lab, network)
    for host in HOSTS.values():
        with namespaces.entered(names.namespace_of(lab, host.name)):
            _configure(host)
    (names.directory(lab) / "up").touch()


def _remove(lab: str) -> None:
    processes.end_processes(lab)
    instances.remove_instances(lab)
    for name in names.namespaces_of(lab):
        namespaces.remove(name)
    names.remove_directory(lab)


def _set_defaults(host: Host) -> None:
    """Make the settings that interfaces inherit: before there are any."""
    sysctls.write("net/ipv4/ip_forward", int(host.forwards))
    for scope in ("all", "default", "lo"):
        _set_ipv4(scope)
        if _has_ipv6():
            for setting, value in {**_IPV6_SETTINGS, "forwarding": int(host.forwards)}.items():
                sysctls.write(f"net/ipv6/conf/{scope}/{setting}", value)


def _has_ipv6() -> bool:
    """Whether this kernel has IPv6: without it, the lab is of IPv4 alone."""
    return sysctls.exists("net/ipv6")


def _usable(addresses: Sequence[str]) -> list[str]:
    """Those of a family that this kernel has."""
    return [address for address in addresses if ":" not in address or _has_ipv6()]


def _set_ipv4(scope: str) -> None:
    for setting, value in _IPV4_SETTINGS.items():
        sysctls.write(f"net/ipv4/conf/{scope}/{setting}", value)


def _lay_network(lab: str, network: str) -> None:
    """Make a network: a bridge, and a veth pair to each interface, its port named by the host."""
    if _has_ipv6():  # a switch has no addresses
        for scope in ("all", "default"):
            sysctls.write(f"net/ipv6/conf/{scope}/disable_ipv6", 1)
    # Where br_netfilter is built in, a bridge is a router's firewall too unless told not to be.
    if Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        sysctls.write("net/bridge/bridge-nf-call-iptables", 0)
    netlink.add_bridge(_BRIDGE)
    for host, interface in on_network(network):
        there = names.namespace_of(lab, host.name)
        netlink.add_bridge_port(_BRIDGE, host.name, interface.name, there)
        _switch_offloads_off(host.name)
        if host.name == _DIRECTOR:
            _receive_xdp_frames(host.name)


def _configure(host: Host) -> None:
    """Bring a host's interfaces up, with its addresses and its gateways."""
    netlink.set_up("lo")
    for interface in host.interfaces:
        _set_ipv4(interface.name)
        _switch_offloads_off(interface.name)
        netlink.set_up(interface.name)
        for address in _usable(interface.addresses):
            netlink.add_address(interface.name, address)
    for gateway in _usable(host.gateways):
        netlink.add_default_route(gateway)


def _switch_offloads_off(ifname: str) -> None:
    """Send finished packets, as a wire would carry them.

    A veth passes checksums and segmentation on as promises to hardware (CHECKSUM_PARTIAL, GSO),
    which nobody keeps once an XDP program has sent the packet on.
    """
    features = ("tx", "tso", "gso", "gro")
    _checked([tool("ethtool"), "-K", ifname, *(word for f in features for word in (f, "off"))])


def _receive_xdp_frames(port: str) -> None:
    """Let the director's veth peer take frames that XDP sends: it must run a program itself.

    Without one the frames of XDP_TX and redirects are lost: veth_xdp_xmit() in drivers/net/veth.c
    takes them only if the receiving peer has NAPI going, which a native program switches on.
    """
    program = libbpf.prog_load(_XDP_PASS, frags=True)
    try:
        netlink.attach_xdp(port, program)
    finally:
        os.close(program)  # the interface holds it now


def counters(lab: str, host: str, ifname: str) -> netlink.Counters:
    """Read the counters of a host's interface. Raises: UsageError, NotFound."""
    with namespaces.entered(names.host_namespace(lab, host)):
        return netlink.counters(ifname)


# Running


def command(lab: str, host: str, argv: Sequence[str]) -> list[str]:
    """Say what starts `argv` on a host: in its network namespace and in none else.

    The networks `net1`, `net2` are hosts too, here: `tcpdump -ni lvs` on net2 hears the director.
    `ip netns exec` would not do: it enters a mount namespace of its own, with a fresh /sys, where
    what is pinned in bpffs dies with the command. Raises: UsageError, NotFound.
    """
    path = namespaces.NAMESPACES / names.host_namespace(lab, host)
    return [tool("nsenter"), f"--net={path}", "--", *argv]


def run(
    lab: str,
    host: str,
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout_s: float | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a command on a host and collect what it says.

    Raises: UsageError, NotFound; with `check`, XdplbError if the command fails;
    subprocess.TimeoutExpired.
    """
    done = subprocess.run(
        command(lab, host, argv),
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    if check:
        _succeeded(done, f"{host}# {' '.join(argv)}")
    return done


def exec_(lab: str, host: str, argv: Sequence[str]) -> NoReturn:
    """Become a command on a host. Raises: UsageError, NotFound."""
    replaced = command(lab, host, argv)
    os.execv(replaced[0], replaced)


def _checked(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    _succeeded(done, " ".join(argv))


def _succeeded(done: "subprocess.CompletedProcess[str]", what: str) -> None:
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["it said nothing"]
        raise XdplbError(f"`{what}` failed with {done.returncode}: {lines[-1]}")


def tool(name: str) -> str:
    """Find a tool, in the places of root's tools too. Raises: MissingPart."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not found:
        raise MissingPart(f"'{name}' is not installed", "install what is missing: tools/setup")
    return found
