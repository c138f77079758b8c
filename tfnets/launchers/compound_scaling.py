"""Compound scaling: compares base networks, searches coefficients, scales the base by a phi.

  python -m tfnets.launchers.compound_scaling --flagfile=flags/compound_scaling/sample.cfg

Each trial is a run of its own in --run_dir/trials, which goes on where it was stopped; several
launchers, of several hosts too, may share the search: give them the same command. Choices are made
on the validation split; the networks that come out are scored on the test split once, at the end.
Writes report.md, report.json and pictures into --run_dir.
"""

from absl import flags

from tfnets.data.presets import PRESETS
from tfnets.errors import Failed, InputError
from tfnets.launchers import (
    app,
    checks,
    common_flags,
    finetuning_flags,
    flag_values,
    run_folder,
    scaling_dry_run,
    scaling_stages,
    trial_runs,
)
from tfnets.launchers.processes import Pool
from tfnets.models import registry
from tfnets.recipes import compound_scaling, scaled_networks
from tfnets.recipes.scaled_networks import Coefficients
from tfnets.training.evaluation import count_validations, percent

FLAGS = flags.FLAGS

common_flags.define_training_run(PRESETS['cats_vs_dogs_train'], PRESETS['cats_vs_dogs_eval'])
common_flags.define_course('', 'Training', 40.0, 0.001)
FLAGS.set_default('optimizer', 'adam')
finetuning_flags.define()
flags.DEFINE_list(
    'mode',
    list(scaling_stages.MODES),
    'What to do, in this order: `compare` trains --bases; `search` trains the candidates, which '
    'are --model scaled by phi = 1; `scale` trains --model scaled by --phi.',
)
flags.DEFINE_list('bases', ['mbconv_a', 'mbconv_b', 'mbconv_c'], 'Networks to compare.')
flags.DEFINE_list(
    'candidates', [], 'Coefficients to search, alpha:beta:gamma each: 1.2:1.05:1.23,1.2:1.23:1.05.'
)
flags.DEFINE_float(
    'grid_step',
    None,
    'Search all coefficients on a grid of this step, from 1 on, that satisfy the constraint.',
    lower_bound=0.01,
)
flags.DEFINE_float(
    'tolerance',
    0.1,
    'By how much alpha * beta**2 * gamma**2 may differ from 2.',
    lower_bound=0,
)
for _stage, _whose in {
    'compare': 'the base networks',
    'final': 'the --finalists',
    'scale': 'the scaled network',
}.items():
    flags.DEFINE_float(
        f'{_stage}_epochs', None, f'Epochs of {_whose}; --epochs by default.', lower_bound=0.001
    )
flags.DEFINE_list(
    'seeds', [], 'Train each network once with each of these seeds; --seed by default.'
)
flags.DEFINE_list('compare_seeds', [], 'Seeds of the base networks; --seeds by default.')
flags.DEFINE_list('scale_seeds', [], 'Seeds of the scaled network; --seeds by default.')
flags.DEFINE_integer(
    'finalists',
    0,
    'Train so many of the best candidates again, for --final_epochs; the best of them is scaled.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'halving',
    0,
    'Successive halving: train all candidates for a part of their epochs, and only the best one in '
    'so many to the next stop, which is so many times as far, and to the end. 0 for all to the '
    'end. A learning rate that falls with the epochs makes early ranks less sure.',
    lower_bound=0,
)
flags.DEFINE_integer(
    'last_validations',
    1,
    'Rank by the mean of so many validations, the last ones. (With averages of the weights, one is '
    'enough.)',
    lower_bound=1,
)
flags.DEFINE_integer('trials_at_once', 1, 'Processes that train trials at once.', lower_bound=1)
flags.DEFINE_integer(
    'trial',
    None,
    'Train this trial of the --mode alone, as --dry_run numbers them; for arrays of jobs. The same '
    'command without it then ranks them.',
    lower_bound=0,
)
flags.DEFINE_bool(
    'then_fixres', False, 'Hand the scaled network over to FixRes, with its flags for fine-tuning.'
)
flags.adopt_module_key_flags(common_flags)
flags.adopt_module_key_flags(finetuning_flags)

# They say which trials there are and in what order, what is asked of new ones, or what FixRes does,
# a run of its own.
_CHANGEABLE = (
    *finetuning_flags.names(),
    *('mode', 'bases', 'candidates', 'grid_step', 'tolerance', 'finalists', 'halving'),
    *('alpha', 'beta', 'gamma', 'phi', 'seed', 'seeds', 'compare_seeds', 'scale_seeds'),
    *('compare_epochs', 'final_epochs', 'scale_epochs'),
    *('last_validations', 'trials_at_once', 'trial', 'then_fixres'),
)


# ------------------------------------------------------------------------------------ checks


def check():
    """Refuses flags that cannot be right."""
    checks.model_and_input()
    checks.course('')
    if FLAGS.then_fixres:
        finetuning_flags.check()
    for mode in FLAGS.mode or ['']:
        if mode not in scaling_stages.MODES:
            known = ', '.join(scaling_stages.MODES)
            raise InputError(f'--mode={mode}: expected {known}, or several of them')
    if FLAGS.weights:
        raise InputError(f'--weights={FLAGS.weights}: trials begin with random weights')
    if FLAGS.stop_after_validations:
        raise InputError('--stop_after_validations: of one run; in a search, --halving decides')
    if FLAGS.strategy == 'multi_worker':
        raise InputError(
            '--strategy=multi_worker: a trial is trained by one process; several hosts share a '
            'search by its folder, see --trial'
        )
    _check_trial()
    make_plan()


def _check_trial():
    if FLAGS.trial is None:
        return
    if FLAGS.overwrite:
        raise InputError(
            '--overwrite, --trial: each job of an array would delete what others have trained; '
            'empty the folder before, once'
        )
    if len(FLAGS.mode) > 1:
        raise InputError(f'--trial={FLAGS.trial}: of which --mode? expected one of them')
    if FLAGS.halving and FLAGS.mode == ['search']:
        raise InputError('--trial: --halving decides on the way which trials there are; leave one')


def make_plan():
    """The recipe's settings, all checked."""
    if FLAGS.halving == 1:
        raise InputError('--halving=1: expected 0, or at least 2')
    base = scaled_networks.base(FLAGS.model, FLAGS.resolution)
    seeds = flag_values.seeds('seeds') or (FLAGS.seed,)
    plan = compound_scaling.Plan(
        bases=_bases(),
        base=base,
        candidates=_candidates(base),
        phi=FLAGS.phi or 0.0,
        coefficients=_coefficients(),
        compare_epochs=_epochs('compare'),
        search_epochs=FLAGS.epochs,
        final_epochs=_epochs('final'),
        scale_epochs=_epochs('scale'),
        compare_seeds=flag_values.seeds('compare_seeds') or seeds,
        search_seeds=seeds,
        scale_seeds=flag_values.seeds('scale_seeds') or seeds,
        finalists=FLAGS.finalists,
        halving=FLAGS.halving,
        evaluate_every=FLAGS.evaluate_every,
    )
    _check_epochs(plan)
    if {'search', 'scale'} & {*FLAGS.mode} and FLAGS.model not in registry.scalable():
        raise InputError(
            f'--model={FLAGS.model}: nothing scales it; expected one of '
            f'{", ".join(registry.scalable())}'
        )
    if FLAGS.mode == ['compare'] and not plan.bases:
        raise InputError('--bases: expected the networks to compare, as mbconv_a,mbconv_c')
    if 'search' in FLAGS.mode and not plan.candidates:
        raise InputError('--candidates: expected alpha:beta:gamma,... or --grid_step')
    if 'scale' in FLAGS.mode and not plan.phi:
        raise InputError('--phi: expected by how much to scale, above 0, as 4')
    if 'scale' in FLAGS.mode and not (plan.coefficients or plan.candidates):
        raise InputError('--alpha, --beta, --gamma: expected them, or --candidates to search')
    if FLAGS.overwrite and not ('search' in FLAGS.mode or plan.coefficients):
        raise InputError(
            f'--overwrite, --mode={",".join(FLAGS.mode)}: it would delete a search that is in the '
            'folder and not search anew; name another folder'
        )
    return plan


def _bases():
    for name in FLAGS.bases:
        if FLAGS.bases.count(name) > 1:
            raise InputError(f'--bases: {name} is named twice')
    try:
        return [scaled_networks.base(name, FLAGS.resolution) for name in FLAGS.bases]
    except InputError as error:
        raise InputError(str(error).replace('--model=', '--bases=', 1)) from None


def _candidates(base):
    """Those of the flags, scaled by phi = 1, each with the others that are the same network."""
    if FLAGS.grid_step:
        if FLAGS.candidates:
            raise InputError('--candidates, --grid_step: expected one of them')
        found = scaled_networks.grid(FLAGS.grid_step, FLAGS.tolerance)
    else:
        found = [_parse(text) for text in FLAGS.candidates]
    if len(set(found)) < len(found):
        raise InputError(f'--candidates={",".join(FLAGS.candidates)}: one is named twice')
    return scaled_networks.distinct([scaled_networks.scaled(base, one, 1.0) for one in found])


def _parse(text):
    try:
        alpha, beta, gamma = map(float, text.split(':'))
    except ValueError:
        raise InputError(
            f'--candidates={text}: expected alpha:beta:gamma, as 1.2:1.05:1.23'
        ) from None
    return _checked('candidates', Coefficients(alpha, beta, gamma))


def _coefficients():
    """--alpha, --beta and --gamma; None if they are not given."""
    given = [FLAGS.alpha, FLAGS.beta, FLAGS.gamma]
    if given == [None] * 3:
        return None
    if None in given:
        raise InputError('--alpha, --beta, --gamma: expected all three, or none')
    return _checked('alpha, --beta, --gamma', Coefficients(*given))


def _checked(flag, coefficients):
    try:
        scaled_networks.check(coefficients, FLAGS.tolerance)
    except InputError as error:
        raise InputError(f'--{flag}: {error}') from None
    return coefficients


def _epochs(stage):
    return FLAGS[f'{stage}_epochs'].value or FLAGS.epochs


def _check_epochs(plan):
    """Refuses stages that are shorter than their warm-up, or than what they are ranked by."""
    for name in ('compare', 'search', 'final', 'scale'):
        epochs = getattr(plan, f'{name}_epochs')
        if FLAGS.warmup_epochs >= epochs:
            raise InputError(
                f'--warmup_epochs={FLAGS.warmup_epochs}: expected less than the {epochs:g} epochs '
                f'of {name}'
            )
        count = count_validations(epochs, FLAGS.evaluate_every)
        if FLAGS.last_validations > count:
            raise InputError(
                f'--last_validations={FLAGS.last_validations}: {name} has {count}; take less, or a '
                'smaller --evaluate_every'
            )


# -------------------------------------------------------------------------------------- main


def main():
    """Flags -> plan -> trials -> the report."""
    plan = make_plan()
    values = common_flags.resolved()
    folder = run_folder.locate('compound_scaling', values, _CHANGEABLE)
    runs = trial_runs.TrialRuns(folder, Pool(folder, FLAGS.trials_at_once))
    if FLAGS.dry_run:
        scaling_dry_run.show(plan, runs)
        return
    scaling_stages.check(plan, runs, FLAGS.mode)
    trial = None if FLAGS.trial is None else _numbered(plan, runs)
    run_folder.share(folder, 'compound_scaling', values, _CHANGEABLE, part='trial')
    failed = _one(trial, runs) if trial else _all(plan, runs, folder)
    if failed:
        raise Failed('; '.join(failed))


def _numbered(plan, runs):
    """The Trial that --trial names."""
    trials = scaling_stages.trials(plan, runs, FLAGS.mode[0])
    if FLAGS.trial >= len(trials):
        raise InputError(
            f'--trial={FLAGS.trial}: --mode={FLAGS.mode[0]} has {len(trials)}, 0 to '
            f'{len(trials) - 1}; finals follow once these are finished'
        )
    return trials[FLAGS.trial]


def _one(trial, runs):
    """Trains a trial; answers what went wrong, as a list of str."""
    scores, failed = runs.train([trial], wait=False)
    for score in scores.values():
        print(
            f'{trial.name}: top-1 {percent(score.top1, score.error)} % on the validation split, '
            f'{score.minutes:.1f} minutes'
        )
    return _told(failed)


def _all(plan, runs, folder):
    """Runs the stages of --mode, writes the report; answers what went wrong, as a list of str."""
    stages, missing = scaling_stages.run(plan, runs, FLAGS.mode)
    if not stages:
        return list(map(str, missing)) or [f'--mode={",".join(FLAGS.mode)}: nothing to do']
    chosen = [stage.trials_of(one) for stage, one in compound_scaling.tested(stages, plan)]
    tested, failed = runs.test(sum(chosen, []))
    tuned, untuned = _fine_tune(runs, stages)
    outcome = compound_scaling.Outcome(stages, tested, tuned)
    from tfnets.analysis import scaling_report

    head = runs.describe(stages)
    print(scaling_report.write_report(folder, outcome, plan, head, runs.num_classes(stages)))
    for stage in (stage for mode in FLAGS.mode for stage in stages.get(mode, [])):
        failed |= stage.failed
    return [*_told(failed | untuned), *map(str, missing)]


def _fine_tune(runs, stages):
    """Hands the scaled network over to FixRes, if asked to; else finds what was done before."""
    if 'scale' not in stages:
        return {}, {}
    (stage,) = stages['scale']
    scaled = stage.trials_of(stage.best)
    if FLAGS.then_fixres and 'scale' in FLAGS.mode:
        return runs.fine_tune(scaled)
    return runs.tuned(scaled), {}


def _told(failed):
    return [f'{trial.name}: {reason}' for trial, reason in failed.items()]


if __name__ == '__main__':
    app.launch(main, check)
