"""The start of an attempt: be its only agent ever, and start the program under a guardian. What follows is in main_loop.py.

Everything before the program's first instruction is paid for by everyone who waits, so this imports nothing that is slow
(enum, json, socket and signal take 3 to 6 ms each) and takes its configuration as NUL-separated `key=value`.

Locks and processes. The agent holds a lock on the file `lock` as long as it lives, and so does the guardian, a copy of the
agent which leads the program's process group and waits for the agent's death: then it kills the group, itself included, and
lets go of the lock when all are dead. A free lock therefore means that the agent *and* the program are gone. The file holds the
two process ids with their start times.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the names in `signal` cost 5 ms
import errno
import fcntl
import os
import struct
import time

WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
DIE_WITHIN_S = 5.0
DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"


class Config:
    """What the launcher wants: `words` are the values of keys that may repeat (arg, env, limit), `value` the others."""

    def __init__(self, text: bytes) -> None:
        self.words: dict[bytes, list[bytes]] = {b"arg": [], b"env": [], b"limit": []}
        self.value: dict[bytes, bytes] = {}
        for entry in text.split(b"\0"):
            key, _, value = entry.partition(b"=")
            if key in self.words:
                self.words[key].append(value)
            else:
                self.value[key] = value

    def number(self, key: bytes, default: float) -> float:
        """Return the number under a key."""
        return float(self.value.get(key) or default)


class StartedProgram:
    """A started program and what the agent holds of it. If it could not be started, `error` says why and `pid` is 0."""

    def __init__(self, folder: int, config: Config, lock: int, life: int) -> None:
        self.folder, self.config, self.lock, self.life = folder, config, lock, life
        self.guardian = self.pid = 0
        # Opened before the program is there to put something else in their place.
        self.requests, self.bell = open_requests(folder)
        self.stdin = self.stdout = self.stderr = -1
        self.error = ""


def begin(path: str) -> StartedProgram | None:
    """Start the attempt in the folder, or return None when it was started before, is being started, or was removed."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
    config = Config(_read(folder, "config"))
    if not _claim(folder, lock, config):
        return None
    life_read, life = os.pipe()
    started = StartedProgram(folder, config, lock, life)
    try:
        started.guardian = _fork_guardian(life_read, life)
        os.pwrite(lock, identity(os.getpid()) + identity(started.guardian), 0)
        os.close(life_read)
        _start(started)
    except OSError as error:
        started.error = f"The program could not be started: {error.strerror}."
    return started


def open_requests(folder: int) -> tuple[int, int]:
    """Open the folder that the program's questions come in, and the FIFO that rings for them."""
    requests = os.open("podwire/ask", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    # Both directions: it never ends, and an asker that opens it never waits.
    return requests, os.open("podwire/bell", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)


def _read(folder: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
        return file.read()


def _claim(folder: int, lock: int, config: Config) -> bool:
    """Become the attempt's agent. The order matters: whoever removes it leaves the tombstone first and looks at the lock then."""
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, WHOLE_FILE)
    except OSError:
        return False
    os.pwrite(lock, identity(os.getpid()), 0)
    if os.path.lexists(config.value[b"tombstone"]):
        return False
    try:
        os.close(os.open("started", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
    except FileExistsError:
        return False
    return True


def identity(pid: int) -> bytes:
    """Return `pid start-time` and a line end: together they name one process for as long as the machine is up."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return b"%d %s\n" % (pid, file.read().rpartition(b")")[2].split()[19])


def _fork_guardian(life_read: int, life: int) -> int:
    guardian = os.fork()
    if guardian == 0:
        try:
            os.setpgid(0, 0)
            os.close(life)
            _guard(life_read)
        finally:
            os._exit(1)
    # In the guardian too, for an agent that is killed before it comes to this; and here, because the group must exist before the
    # program can join it.
    os.setpgid(guardian, guardian)
    return guardian


def _guard(life_read: int) -> None:
    for number in range(1, 65):
        try:
            _signal.signal(number, _signal.SIG_IGN)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP and the two of the C library
    while os.read(life_read, 1):
        pass
    group = os.getpid()
    try:
        leads = os.fork()
    except OSError:
        os.kill(0, _signal.SIGKILL)
    if leads:
        _signal.pause()  # lead the group until the end: its number cannot become another's before that
    os.setsid()
    os.killpg(group, _signal.SIGKILL)
    # A killed process goes on for moments. The lock, which this one still holds, says that nothing does.
    until = time.monotonic() + DIE_WITHIN_S
    while time.monotonic() < until and _alive(group):
        time.sleep(0.002)


def _alive(group: int) -> bool:
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat", "rb") as file:
                state, _, member_of = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # not a process, or not any more
        if int(member_of) == group and state not in b"ZX":
            return True
    return False


def _start(started: StartedProgram) -> None:
    stdin_read, stdin = os.pipe() if started.config.value.get(b"stdin") else (os.open(os.devnull, os.O_RDONLY), -1)
    stdout, stdout_write = os.pipe()
    stderr, stderr_write = os.pipe()
    failed, failed_write = os.pipe()
    agent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(started, agent, (stdin_read, stdout_write, stderr_write), failed_write)
    for descriptor in (stdin_read, stdout_write, stderr_write, failed_write):
        os.close(descriptor)
    started.pid, started.stdin, started.stdout, started.stderr = pid, stdin, stdout, stderr
    with open(failed, "rb") as file:
        report = file.read()  # ends when the program has taken over, and its end of the pipe closed
    if report:
        os.waitpid(pid, 0)
        started.pid = 0
        started.error = _sentence(started.config.words[b"arg"][0], int(report))


def _become(started: StartedProgram, agent: int, streams: tuple[int, int, int], failed: int) -> None:
    """In the forked child: become the program, or report the error number and leave."""
    try:
        os.setpgid(0, started.guardian)
        if os.getppid() != agent:
            os._exit(127)  # the agent died before this joined the group, so the guardian may have missed it
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        _confine(started.config)
        os.chdir(started.config.value[b"cwd"])
        _execute(started.config)
    except OSError as error:
        os.write(failed, b"%d" % (error.errno or errno.EIO))
    except ValueError:
        os.write(failed, b"%d" % errno.EINVAL)
    finally:
        os._exit(127)


def _confine(config: Config) -> None:
    import resource

    for name in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(name, _signal.SIG_DFL)  # Python ignores them; a program expects them
    os.umask(0o022)
    os.nice(int(config.number(b"nice", 0)))
    for limit in config.words[b"limit"]:
        kind, soft, hard = (int(part) for part in limit.split(b":"))
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def _execute(config: Config) -> None:
    """Replace this process. Raises: OSError, the most telling one of what was tried along PATH."""
    args = config.words[b"arg"]
    env = dict((name, value) for name, _, value in (entry.partition(b"=") for entry in config.words[b"env"]))
    places = [b""] if b"/" in args[0] else env.get(b"PATH", DEFAULT_PATH).split(b":")
    failure = OSError(errno.ENOENT, "")
    for place in places:
        try:
            os.execve(os.path.join(place, args[0]), args, env)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failure = error
    raise failure


def _sentence(word: bytes, number: int) -> str:
    command = word.decode(errors="replace")
    if number == errno.ENOENT:
        return f"The command {command!r} was not found."
    return f"The command {command!r} could not be started: {os.strerror(number)}."
