# SPDX-License-Identifier: MIT
"""All measurements, one after the other. If one fails, the others still run."""

import shlex
import signal
import subprocess
import sys
import time

import click
import rig

BENCHES = {
    "packet": "nanoseconds per packet through the program, against targets",
    "growth": "how that grows with flows, services and reals",
    "cores": "how that changes with several cores at work",
    "control": "how long commands and large rings take",
    "end_to_end": "packets per second through an attached director",
    "timeline": "a load while a real is drained and the program is upgraded",
    "ipvs": "the kernel's IPVS and xdplb on the same packets, in a virtual machine",
}


def run(name: str) -> bool:
    """Runs a bench; its output is shown. Returns: whether it succeeded."""
    command = [sys.executable, str(rig.HERE / f"{name}.py")]
    click.secho(f"\n{name}: {BENCHES[name]}\n{shlex.join(command)}\n", bold=True)
    start = time.monotonic()
    process = subprocess.Popen(command)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()  # it cleans up; Ctrl-C has reached it already
        process.wait()
        raise
    click.echo(
        f"{name}: {time.monotonic() - start:.0f} s" + (f", FAILED with {code}" * (code != 0))
    )
    return code == 0


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
def main(names: tuple[str, ...]) -> None:
    """Measure everything, or only NAMES; results and plots go to bench/results."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = [name for name in names or BENCHES if not run(name)]
    click.echo(f"\nresults and plots are in {rig.RESULTS}")
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
