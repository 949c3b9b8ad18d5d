"""Trainings in processes of their own, which may be killed; torch and Lightning are loaded once for all of them."""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
import traceback

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["regard.train.fitting", "regard.models.encoder", "torch.utils.tensorboard", "matplotlib.figure", "tiny"]
)


def in_process(function, *arguments):
    """The exit status of `function(*arguments)`: 0, 1 where it raised, -9 where it was killed."""
    process = _FORKS.Process(target=_call, args=(function, arguments, {}))
    process.start()
    process.join()
    return process.exitcode


def in_processes(count, function, *arguments):
    """The exit statuses of as many processes that work together, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    started = []
    for rank in range(count):
        place = {key: str(value) for key, value in (shared | {"RANK": rank, "LOCAL_RANK": rank}).items()}
        started.append(_FORKS.Process(target=_call, args=(function, arguments, place)))
        started[-1].start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def _call(function, arguments, environment):
    os.environ.update(environment)
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def kill_when(owner, name, times, after=False):
    """Kills this process at the given call of a class' method or a module's function, before it or right after it."""
    owner = importlib.import_module(owner) if isinstance(owner, str) else owner
    method, calls = getattr(owner, name), 0

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == times and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **options)
        if calls == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)
