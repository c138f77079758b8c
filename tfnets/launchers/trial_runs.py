"""Trials of a compound scaling as runs: a folder each, made by the launcher `classification`."""

import functools
import itertools
import os
import statistics

from absl import flags, logging

from tfnets.errors import InputError
from tfnets.files import read_json
from tfnets.launchers import common_flags, finetuning_flags, run_folder
from tfnets.launchers.processes import Job
from tfnets.models import registry
from tfnets.recipes import ranking
from tfnets.training.record import read_metrics, training_minutes

FLAGS = flags.FLAGS

# What a trial decides for itself, or what is the search's alone.
_NOT_SHARED = (
    *('model', *registry.OPTIONS, 'weights', 'new_head', 'resolution', 'seed', 'epochs'),
    *('run_dir', 'overwrite', 'dry_run', 'stop_after_validations', 'log_file'),
)


class Unfinished(Exception):  # noqa: N818
    """Trials that are not finished were to be read."""


class TrialRuns:
    """Trains, reads, tests and fine-tunes trials.

    Args:
        folder: pathlib.Path of the search.
        pool: processes.Pool.
    """

    def __init__(self, folder, pool):
        self._folder, self._pool = folder, pool

    def folder(self, trial):
        """The folder of a trial's run."""
        return self._folder / 'trials' / trial.name

    # ---------------------------------------------------------------------------- training

    def train(self, trials, rung=0, wait=True):
        """Trains trials to their end, or behind so many validations; see `compound_scaling.Train`.

        Args:
            trials: list of Trial.
            rung: how many validations; 0 for all.
            wait: for trials that another process has at work; False to refuse them.

        Raises:
            Preempted: after a SIGTERM; the same command goes on.
            InputError: if it was not to wait, or a trial was begun with other epochs.
        """
        self._check_lengths(trials)
        logging.info(
            '%s: %d trials, %d of them finished before%s',
            trials[0].stage,
            len(trials),
            sum(self._is_trained(trial, rung) for trial in trials),
            f'; up to validation {rung}' if rung else '',
        )
        jobs = {trial: self._training(trial, rung) for trial in trials}
        failed = self._run(jobs, wait)
        done = [trial for trial in trials if trial not in failed]
        return {trial: score(self.folder(trial), rung) for trial in done}, failed

    def read(self, trials, rung=0):
        """What `train` answered, or would, had all been trained; trains nothing.

        Raises:
            Unfinished: if some have neither been nor failed; names them.
            InputError: if a trial was begun with other epochs.
        """
        self._check_lengths(trials)
        done = [trial for trial in trials if self._is_trained(trial, rung)]
        failed = {trial: self._pool.failure(trial.name) for trial in trials if trial not in done}
        missing = [trial.name for trial, reason in failed.items() if reason is None]
        if missing:
            raise Unfinished(f'{len(missing)} of {len(trials)} not finished: {", ".join(missing)}')
        return {trial: score(self.folder(trial), rung) for trial in done}, failed

    def _training(self, trial, rung):
        settings = {**self._flags(trial), 'test': 'false'}
        if rung:
            settings['stop_after_validations'] = str(rung)
        is_done = functools.partial(self._is_trained, trial, rung)
        return Job(trial.name, 'training', 'classification', settings, is_done)

    def _is_trained(self, trial, rung):
        if (self.folder(trial) / 'report.md').exists():
            return True
        return 0 < rung <= len(_validation_lines(self.folder(trial)))

    def _check_lengths(self, trials):
        """Refuses trials that were begun with another number of epochs."""
        for trial in trials:
            run = read_json(self.folder(trial) / 'run.json')
            if run and float(run['flags']['epochs']) != trial.epochs:
                raise InputError(
                    f'{self.folder(trial)}: a trial of {run["flags"]["epochs"]} epochs, asked for '
                    f'{trial.epochs:g}; ask for as many, or name another --run_dir'
                )

    def _run(self, jobs, wait=True):
        """Runs a Job for each trial; answers those that failed, with the reason."""
        failed = self._pool.run(list(jobs.values()), wait)
        return {trial: failed[job.name] for trial, job in jobs.items() if job.name in failed}

    # ------------------------------------------------------------------- test, fine-tuning

    def test(self, trials):
        """Scores finished trials on the test split, each once and for ever.

        Args:
            trials: list of Trial.

        Returns:
            Dict from each Trial to the numbers of its Evaluation, and dict from each that failed to
            the reason.
        """
        jobs = {
            trial: Job(
                trial.name,
                'test',
                'classification',
                {**self._flags(trial), 'test': 'true'},
                functools.partial(self._tested, trial),
            )
            for trial in trials
        }
        failed = self._run(jobs)
        return {trial: self._tested(trial) for trial in trials if trial not in failed}, failed

    def _tested(self, trial):
        """The numbers of a trial on the test split; None if they are not there yet."""
        report = read_json(self.folder(trial) / 'report.json', {})
        return (report.get('results') or [None])[0]

    def fine_tune(self, trials):
        """Hands trained networks over to FixRes.

        Args:
            trials: list of Trial.

        Returns:
            Dict from each Trial to the folder of the FixRes run that begins with its network, and
            dict from each that failed to the reason.

        Raises:
            InputError: if one was fine-tuned before by other flags.
        """
        folders = {trial: self._tuned_folder(trial) for trial in trials}
        for trial, folder in folders.items():
            _check_tuned(folder, self._finetuning_flags(trial, folder))
        jobs = {
            trial: Job(
                f'fixres.{trial.name}',
                'fine-tuning',
                'fixres',
                self._finetuning_flags(trial, folder),
                (folder / 'report.md').exists,
            )
            for trial, folder in folders.items()
        }
        failed = self._run(jobs)
        return {trial: folders[trial] for trial in trials if trial not in failed}, failed

    def tuned(self, trials):
        """What `fine_tune` has finished before, as it answers that; starts nothing."""
        folders = {trial: self._tuned_folder(trial) for trial in trials}
        return {t: folder for t, folder in folders.items() if (folder / 'report.md').exists()}

    def _tuned_folder(self, trial):
        return self._folder / 'fixres' / trial.name

    # ----------------------------------------------------------------------- for the report

    def num_classes(self, stages):
        """The size of the networks' output."""
        # Behind a rung trials are not finished yet.
        finished = [run[-1] for run in stages.values()]
        first = self.folder(next(_trials(finished)))
        return FLAGS.num_classes or len(read_json(first / 'inputs.json')['class_names'])

    def describe(self, stages):
        """The head of a report: what the run was."""
        trials = list(_trials(itertools.chain(*stages.values())))
        runs = [read_json(self.folder(trial) / 'run.json') for trial in trials]
        splits = read_json(self.folder(trials[0]) / 'data.json')
        counts = [
            f'{split["examples"] - len(split["damaged"] or [])} of {name}'
            for name, split in splits.items()
        ]

        return {
            'flags': f'{self._folder}/flags.cfg',
            'data': f'{FLAGS.dataset}; photos: {", ".join(counts)}',
            'ranked by': 'the last validation'
            if FLAGS.last_validations == 1
            else f'the mean of the last {FLAGS.last_validations} validations',
            'trials at once': FLAGS.trials_at_once,
            **run_folder.provenance(runs),
        }

    # ------------------------------------------------------------------------------- flags

    def _flags(self, trial):
        """Those of a trial's run."""
        run_dir = str(self.folder(trial))
        return {**_shared(), **_network(trial), 'epochs': str(trial.epochs), 'run_dir': run_dir}

    def _finetuning_flags(self, trial, folder):
        """Those of the FixRes run that begins with a trial's network."""
        # What training has and fine-tuning too is of the course of training.
        shared = {k: v for k, v in _shared().items() if f'finetune_{k}' not in FLAGS}
        return {
            **shared,
            **_given(finetuning_flags.names()),
            **_network(trial),
            'epochs': '0',
            # The same text wherever the search is started from.
            'weights': os.path.abspath(self.folder(trial) / 'model.keras'),
            'run_dir': str(folder),
        }


def _check_tuned(folder, asked):
    """Refuses a folder of FixRes that was begun by other flags of fine-tuning."""
    run = read_json(folder / 'run.json', {'flags': asked})
    for name, before, now in run_folder.differences(run['flags'], asked):
        if name in finetuning_flags.names():
            raise InputError(
                f'{folder}: fine-tuned with --{name}={before}, asked for {now}; ask for the same, '
                'or move that folder away to fine-tune anew'
            )


def _trials(stages):
    """All trials of stages that ended well."""
    for stage in stages:
        for standing in stage.standings:
            yield from stage.trials_of(standing)


def _shared():
    """The flags that all trials share."""
    names = [flag.name for flag in FLAGS.flags_by_module_dict()[common_flags.__name__]]
    own = {*_NOT_SHARED, *finetuning_flags.names()}
    return _given([name for name in names if name not in own])


def _network(trial):
    """The flags that name a trial's network."""
    network = trial.network
    options = {name: f'{value:.10g}' for name, value in network.options.items()}
    size = {'resolution': str(network.config.resolution), 'seed': str(trial.seed)}
    return {'model': network.model, **options, **size}


def _given(names):
    """The flags of these names, as text, without those not given."""
    values = {name: FLAGS[name].value for name in names}
    return run_folder.as_text({k: v for k, v in values.items() if v is not None})


# -------------------------------------------------------------------------------- results


def score(folder, rung=0):
    """Reads what a trial came to.

    Args:
        folder: of its run.
        rung: behind how many validations; 0 for all. Where --last_validations are more than that,
            it is the mean of those that there are.

    Returns:
        ranking.Score.
    """
    last = _validation_lines(folder)[: rung or None][-FLAGS.last_validations :]
    whole = read_json(folder / 'phases' / 'train' / 'result.json')
    return ranking.Score(
        statistics.fmean(line['top1'] for line in last),
        last[-1]['examples'],
        whole['minutes'] if whole and not rung else _minutes(folder, last[-1]['step']),
    )


def _validation_lines(folder):
    return [line for line in read_metrics(folder) if line['split'] == 'validation']


def _minutes(folder, end):
    """Of training up to a step."""
    lines = [line for line in read_metrics(folder) if line['split'] == 'train']
    return training_minutes([line for line in lines if line['step'] <= end], FLAGS.batch_size)
