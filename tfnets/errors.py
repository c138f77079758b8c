"""What can end a run before its time, apart from defects."""


class InputError(ValueError):
    """Bad input: says what was wrong, what was got, what was expected, and what to do.

    Launchers print its message as one line and exit with code 2.
    """

    # So that AutoGraph lets it through from inside a tf.data function, instead of wrapping it.
    ag_pass_through = True


class Preempted(BaseException):
    """The process was asked to end; everything is saved, the same command goes on from there.

    No error, and like KeyboardInterrupt not for a library to catch, whose code a signal may meet.
    """


class WorkerLost(Exception):  # noqa: N818 - not an error: the run goes on later
    """Another process of the cluster has ended; the last checkpoint is where all go on from."""


class Failed(Exception):  # noqa: N818
    """Something of what was asked for went wrong, and what could be done without it is done."""


class NotFinite(Exception):  # noqa: N818
    """The loss became NaN or infinite."""


class TrialsFailed(Failed):
    """All trials of a stage of a search failed, so that there is nothing to choose from."""


def one_line(error):
    """The first line of what an exception says; the name of its class where it says nothing."""
    return str(error).strip().partition('\n')[0] or type(error).__name__


def few(names):
    """The first of many names, and how many more there are."""
    more = f' and {len(names) - 5} more' if len(names) > 5 else ''
    return ', '.join(names[:5]) + more
