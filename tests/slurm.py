"""A SLURM of one node: munged, slurmctld and slurmd as processes of a test, on free ports and in its own folder."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PATIENCE = 60  # seconds until the node is ready, on a machine that is busy
CONFIG = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=2
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs that this machine does not have."""
    return [name for name in PROGRAMS if not shutil.which(name, path=PLACES)]


class Slurm:
    """A cluster of four processors and four GPUs, whatever the machine has. It ends with `close`.

    Attributes:
        environment: for commands that are to use the cluster.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        ports = dict(zip(("controller", "node"), _free_ports(2), strict=True))
        host = socket.gethostname().partition(".")[0]
        config = folder / "slurm.conf"
        config.write_text(CONFIG.format(host=host, folder=folder, user=getpass.getuser(), **ports))
        for number in range(4):
            (folder / f"gpu{number}").symlink_to("/dev/null")
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-3]\n")
        self.environment = {**os.environ, "SLURM_CONF": str(config), "PATH": PLACES}
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        names = {
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munge.seed",
        }
        places = [f"--{option}={folder / name}" for option, name in names.items()]
        try:
            self._start("munged", "--foreground", "--force", f"--key-file={key}", *places)
            self._wait(lambda: (folder / "munge.socket").exists(), "munged")
            self._start("slurmctld", "-D", "-c")
            self._start("slurmd", "-D", "-N", host)
            self._wait(lambda: self.said("sinfo", "-h", "-o", "%T") == "idle", "the node")
        except BaseException:
            self.close()
            raise

    def said(self, *command: str) -> str:
        """What a command of SLURM prints; also nothing, where it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def close(self) -> None:
        """End all jobs and the three daemons."""
        with suppress(OSError, subprocess.SubprocessError):
            self.said("scancel", "--signal=KILL", f"--user={getpass.getuser()}")
        for process in reversed(self.started):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, *options: str) -> None:
        with (self.folder / f"{name}.out").open("w") as out:
            program = shutil.which(name, path=PLACES)
            process = subprocess.Popen([program, *options], env=self.environment, stdout=out, stderr=out)
        self.started.append(process)

    def _wait(self, ready, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not ready():
            ended = [process.args[0] for process in self.started if process.poll() is not None]
            if ended or time.monotonic() > end:
                logs = {path.name: path.read_text(errors="replace")[-1000:] for path in self.folder.glob("*.out")}
                raise RuntimeError(f"{what} is not ready ({', '.join(ended) or 'time is up'}): {logs}")
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
