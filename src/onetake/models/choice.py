"""Which model a job gets: the one that it names, else the default of this machine."""

from onetake.models.catalogue import DEFAULT_ON_GPU, MODELS, TINY
from onetake.models.device import card_name
from onetake.models.spec import ModelSpec
from onetake.models.weights.places import find_weights
from onetake.runtime.errors import JobError, SettingsError
from onetake.runtime.settings import Settings
from onetake.runtime.wording import nearest_name, shown


def few_step_form(spec: ModelSpec, settings: Settings, *, need_weights: bool = True) -> ModelSpec:
    """The row with the distilled weights of ``spec``, or ``spec`` if its own are distilled.

    Raises:
        JobError: there are none, or they are needed and missing.
    """
    if spec.sampling.distilled:
        return spec
    if not spec.few_steps:
        names = ", ".join(other.name for other in MODELS.values() if other.few_steps)
        problem = f"turbo needs distilled weights, and {spec.name} has none; only {names} have them"
        raise JobError("profile", problem, code="unsupported")
    return resolve(spec.few_steps, settings, need_weights=need_weights)[0]


def default_model(settings: Settings) -> tuple[ModelSpec, str]:
    """The model for jobs that name none, and why it is the embedded one if nobody chose that.

    `ONETAKE_MODEL`, else the default of a GPU, else the embedded one. In production a missing GPU
    or model is an error: an answer by another model would look like success.

    Raises:
        SettingsError: `ONETAKE_MODEL` is unknown, or production finds no GPU or no weights.
    """
    if settings.model is not None:
        if settings.model not in MODELS:
            raise SettingsError("ONETAKE_MODEL", f"is none of {', '.join(MODELS)}")
        return MODELS[settings.model], ""
    if card_name() is None:
        lacking = "there is no GPU"
    elif find_weights(MODELS[DEFAULT_ON_GPU], settings) is None:
        lacking = f"the weights of {DEFAULT_ON_GPU} are not here"
    else:
        return MODELS[DEFAULT_ON_GPU], ""
    if settings.production:
        raise SettingsError("ONETAKE_MODEL", f"not set, and {lacking}; mend that or name a model")
    return MODELS[TINY], f"made by the embedded model, since {lacking}"


def resolve(
    name: str | None, settings: Settings, *, need_weights: bool = True
) -> tuple[ModelSpec, str]:
    """The model that a job asks for, and a note on it; see `default_model`.

    Raises:
        JobError: it is unknown, or its weights are needed and missing; it is never replaced.
    """
    if name is None:
        return default_model(settings)
    if name not in MODELS:
        problem = f"{shown(name)} is not one of {', '.join(MODELS)}{nearest_name(name, MODELS)}"
        raise JobError("model", problem, code="unknown_model")
    if need_weights and find_weights(MODELS[name], settings) is None:
        available = [spec.name for spec in MODELS.values() if find_weights(spec, settings)]
        problem = f"the weights of {name} are not on this worker, which has {', '.join(available)}"
        raise JobError("model", problem, code="model_unavailable")
    return MODELS[name], ""
