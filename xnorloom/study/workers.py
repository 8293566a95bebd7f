"""Runs side by side: processes that each work off what they are given, on machines of their own."""

import contextlib
import multiprocessing
import multiprocessing.connection
import signal
import traceback

from ..errors import UserError, sentence
from .runs import Runner

__all__ = ["work_off"]


def work_off(setting, tasks, jobs, done, progress):
    """Gets the results of runs, in this process or side by side in others.

    Parameters
    ----------
    setting : Setting
    tasks : list of (str, int)
        Scheme and seed.
    jobs : int
        Processes; each has one torch thread and a simulated machine of its own.
    done : callable
        Given the result of each run, as they end.
    progress : callable
        Given a line on what is going on.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        with Runner(setting, progress) as runner:
            for task in tasks:
                done(runner.result(*task))
        return
    waiting = list(reversed(tasks))
    workers = [_Worker(setting) for _ in range(jobs)]
    try:
        for worker in workers:
            worker.link.send(waiting.pop())
        busy = list(workers)
        while busy:
            ready = multiprocessing.connection.wait([worker.link for worker in busy])
            for worker in [worker for worker in busy if worker.link in ready]:
                kind, content = worker.receive()
                if kind == "note":
                    progress(content)
                    continue
                done(content)
                if waiting:
                    worker.link.send(waiting.pop())
                else:
                    busy.remove(worker)
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """Another process with a :class:`Runner`."""

    def __init__(self, setting):
        context = multiprocessing.get_context("spawn")
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, setting), daemon=True)
        self.process.start()
        theirs.close()

    def receive(self):
        """Kind and content of the next message.

        Raises
        ------
        UserError
            If the run failed for a reason that the user can mend.
        RuntimeError
            If it failed otherwise.
        """
        try:
            kind, content = self.link.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"Worker process must live until it is told to stop, but ended with "
                               f"status {self.process.exitcode}") from None
        if kind == "refused":
            raise UserError(content)
        if kind == "failed":
            raise RuntimeError(content)
        return kind, content

    def stop(self):
        """Ends the process; what it is at is dropped, what it has finished is kept."""
        self.link.close()
        self.process.terminate()
        self.process.join()


def _serve(link, setting):
    def stop(_number, _frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)

    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(KeyboardInterrupt, EOFError, ConnectionError), \
            Runner(setting, lambda note: link.send(("note", note))) as runner:
        while True:
            task = link.recv()
            try:
                answer = "result", runner.result(*task)
            except Exception as error:
                text = sentence(error)
                answer = ("refused", text) if text else ("failed", traceback.format_exc())
            link.send(answer)
