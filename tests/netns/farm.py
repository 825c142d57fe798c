# SPDX-License-Identifier: MIT
"""More real servers for a lab, each a host of its own.

(Several addresses on one host would not do: what is sent to the wrong one is answered, too.)
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fivehosts import XDPLB, Lab

from xdplb import lab as labs
from xdplb.host import namespaces, netlink

NGINX = """\
user root;
daemon off;
worker_processes 1;
pid {directory}/farm-{host}.pid;
error_log {directory}/farm-{host}.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/farm-{host}-body;
    proxy_temp_path {directory}/farm-{host}-proxy;
    fastcgi_temp_path {directory}/farm-{host}-fastcgi;
    uwsgi_temp_path {directory}/farm-{host}-uwsgi;
    scgi_temp_path {directory}/farm-{host}-scgi;
    server {{ listen 80 backlog=4096; location / {{ return 200 "{host}\\n"; }} }}
}}
"""
SETTINGS = "rp_filter arp_ignore arp_announce"
OFFLOADS_OFF = [word for feature in ("tx", "tso", "gso", "gro") for word in (feature, "off")]


@contextlib.contextmanager
def real(lab: Lab, host: str, address: str) -> Iterator[None]:
    """One more real server on the reference case's second network, with a page of its name."""
    namespace = f"{lab.name}-{host}"
    inside = ["nsenter", f"--net=/run/netns/{namespace}", "--"]
    namespaces.create(namespace)
    with contextlib.ExitStack() as stack:
        stack.callback(namespaces.remove, namespace)
        with namespaces.entered(f"{lab.name}-net2"):
            netlink.add_bridge_port("br0", host, "ens33", namespace)
        script = f"""
            echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6 >/dev/null
            for setting in {SETTINGS}; do
                echo 0 | tee /proc/sys/net/ipv4/conf/*/$setting >/dev/null
            done
            ethtool -K ens33 {" ".join(OFFLOADS_OFF)} >/dev/null
            ip link set lo up; ip link set ens33 up
            ip address add {address}/24 dev ens33; ip route add default via 192.168.2.1
        """
        subprocess.run([*inside, "sh", "-ec", script], check=True)
        lab.run("net2", "ethtool", "-K", host, *OFFLOADS_OFF)
        directory = Path("/run/xdplb/lab", lab.name)
        file = directory / f"farm-{host}.conf"
        file.write_text(NGINX.format(directory=directory, host=host))
        nginx = subprocess.Popen([*inside, "nginx", "-p", str(directory), "-c", str(file)])
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        realserver = [XDPLB, "realserver"]
        subprocess.run(
            [*realserver, "setup", "--netns", namespace, "--vip", labs.VIP],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        stack.callback(subprocess.run, [*realserver, "teardown", "--netns", namespace])
        yield
