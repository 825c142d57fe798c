# SPDX-License-Identifier: MIT
"""Reading and writing an instance's state: the file, and its copy beside the tables.

/run and bpffs can be lost apart. The copy is pinned in bpffs and replaced at the end of each
change. If the file is gone or damaged while the tables are there, the state is read back from the
copy.
"""

from contextlib import suppress

from xdplb.director import files, state_file
from xdplb.director.host_shares import HostShares
from xdplb.director.instance import Instance
from xdplb.director.state import State
from xdplb.errors import KernelRefused, MissingPart, NoPermission, NotAttached, XdplbError
from xdplb.kernel import pinned_bytes
from xdplb.kernel.bpffs import check_bpffs
from xdplb.kernel.tables import Tables


def read_state(instance: Instance) -> State:
    """What an instance knows; an empty state if nothing was ever said.

    Raises: NoPermission; Damaged if neither the file nor its copy can be read.
    """
    try:
        content = files.read_bytes(instance.state)
        if content is not None:
            return state_file.decode(content, str(instance.state))
    except NoPermission:
        raise
    except XdplbError:  # damaged, or no file
        if (state := read_copy(instance)) is not None:
            return state
        raise
    return read_copy(instance) or State()


def read_copy(instance: Instance) -> State | None:
    """The state that is pinned beside the tables; None if there is none that can be read."""
    with suppress(state_file.Damaged, NoPermission):
        content = pinned_bytes.load(instance.state_copy)
        if content is not None:
            return state_file.decode(content, str(instance.state_copy))
    return None


def is_read_back(instance: Instance) -> bool:
    """Whether the file is gone or damaged, and the state is that of the copy."""
    with suppress(XdplbError):
        content = files.read_bytes(instance.state)
        if content is not None:
            state_file.decode(content, str(instance.state))
            return False
    return instance.state_copy.exists()


def write_state(instance: Instance, state: State) -> None:
    """Replace the file. Raises: XdplbError; then it is as it was.

    What it says already is not written again: so a change is undone though the disk is full.
    """
    _write(instance, state_file.encode(state))


def _write(instance: Instance, content: bytes) -> None:
    if content != files.read_bytes(instance.state):
        files.write_bytes(instance.state, content)


def finish_state(instance: Instance, state: State) -> None:
    """Replace the file, and the copies of the state and of the shares, at the end of a change.

    A director that is detached has no copies. Raises: XdplbError.
    """
    content = state_file.encode(state)
    _write(instance, content)
    if state.attached and instance.pins.is_dir():
        pinned_bytes.save(instance.state_copy, content)
        pinned_bytes.save(instance.shares_copy, HostShares(instance).encoded())


def not_attached(instance: Instance, state: State) -> NotAttached:
    """The error for a director that is not attached; it says what waits for that."""
    what = f"no director is attached as instance '{instance.name}'"
    services, vips = len(state.wanted.services), len(state.wanted.vips)
    if services or vips:
        return NotAttached(
            f"{what}; {services} services and {vips} VIPs wait for it",
            "run: xdplb attach INTERFACE",
        )
    return NotAttached(what, "run: xdplb attach INTERFACE --vip ADDRESS")


def open_tables(instance: Instance, state: State) -> Tables:
    """The tables in force. Raises: NotAttached; MissingPart if they are gone or were replaced."""
    attached = state.attached
    if attached is None:
        raise not_attached(instance, state)
    again = f"attach again: xdplb attach {' '.join(attached.interfaces)}"
    directory = instance.layout(attached.layout)
    if not directory.is_dir():
        check_bpffs()
        raise MissingPart(f"the pins of instance '{instance.name}' in {directory} are gone", again)
    tables = Tables(directory, attached.tables)
    try:
        for name, table in tables:
            if table.id != attached.map_ids[name]:
                raise MissingPart(
                    f"the table {table.path} was replaced: the program uses another one", again
                )
    except (NotAttached, KernelRefused) as error:
        tables.close()
        raise MissingPart(error.what, again) from error
    except BaseException:
        tables.close()
        raise
    return tables
