# SPDX-License-Identifier: MIT
"""The web servers of rs1 and rs2: nginx with its own configuration, away from the machine's."""

import time
from pathlib import Path

from xdplb.errors import XdplbError
from xdplb.host import sysctls
from xdplb.lab import hosts, names, processes
from xdplb.lab.topology import HOSTS

_START_S = 5.0
_LARGE_PAGE = 10 << 20

# /upload has to take the whole body before it answers: proxying makes nginx do so, to another
# server of its own which then gets the request without the body.
_LISTEN_V6 = " listen [::]:80 backlog=4096;"  # where the kernel has IPv6

_CONFIGURATION = """\
user root;  # of this namespace's files only: {directory} may be closed to others
daemon on;
worker_processes 1;
pid {pid_file};
error_log {directory}/nginx-{host}.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000;
    client_max_body_size 100m;
    client_body_temp_path {directory}/nginx-{host}-body;
    proxy_temp_path {directory}/nginx-{host}-proxy;
    fastcgi_temp_path {directory}/nginx-{host}-fastcgi;
    uwsgi_temp_path {directory}/nginx-{host}-uwsgi;
    scgi_temp_path {directory}/nginx-{host}-scgi;
    server {{
        listen 80 backlog=4096;{listen_v6}
        location / {{ return 200 "{page}\\n"; }}
        location = /large {{ root {directory}; }}
        location = /upload {{
            proxy_pass http://unix:{directory}/nginx-{host}.socket:/;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
    server {{
        listen unix:{directory}/nginx-{host}.socket;
        location / {{ return 200 "{page}\\n"; }}
    }}
}}
"""


def start_web(lab: str = names.DEFAULT_NAME) -> None:
    """Start nginx on rs1 and rs2, and wait until both take connections; `down` ends them.

    `/` is the host's name, `/large` is 10 MiB of zeros, `/upload` takes a body of up to 100 MB and
    then answers like `/`. Raises: NotFound if the lab is not up, MissingPart, XdplbError.
    """
    for host in HOSTS.values():
        if host.page is not None and processes.running(lab, host.name, "nginx") is None:
            _start(lab, host.name, host.page)


def _start(lab: str, host: str, page: str) -> None:
    names.host_namespace(lab, host)
    directory = names.directory(lab)
    _make_large_page(directory / "large")
    pid_file = names.pid_file(lab, host, "nginx")
    configuration = directory / f"nginx-{host}.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            host=host,
            page=page,
            pid_file=pid_file,
            listen_v6=_LISTEN_V6 if sysctls.exists("net/ipv6") else "",
        )
    )
    nginx = hosts.tool("nginx")
    log = str(directory / f"nginx-{host}.log")
    hosts.run(lab, host, [nginx, "-p", str(directory), "-e", log, "-c", str(configuration)])
    _wait_for(pid_file)


def _make_large_page(path: Path) -> None:
    with path.open("wb") as page:
        page.truncate(_LARGE_PAGE)  # a hole: it takes no memory


def _wait_for(pid_file: Path) -> None:
    """The listening sockets are open once nginx is in the background; its record comes after."""
    deadline = time.monotonic() + _START_S
    while not (pid_file.exists() and pid_file.read_text().strip()):
        if time.monotonic() > deadline:
            raise XdplbError(f"nginx did not write {pid_file}", "see its log beside that file")
        time.sleep(0.01)
