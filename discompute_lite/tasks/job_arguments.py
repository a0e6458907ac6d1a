"""Turn command line words into the arguments of a job, by the signature of the function that takes them.

Knows:   `--bound 1000`, `--bound=1000`, `bound=1000`, `1000`; the types that annotations and defaults say.
Refuses: to run the job: the signature is read from its syntax tree.
Read next: tasks/jobs.py.
"""

from __future__ import annotations

import ast
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..model.errors import TaskRejected


class JobParameter(NamedTuple):
    """Describe one parameter of a job's function."""

    name: str
    #: "int", "float", "str", "bool", "list", "dict", or "" where nothing is said.
    kind: str
    is_required: bool
    takes_position: bool


class JobSignature(NamedTuple):
    """Describe what the function that takes a job's arguments can be called with."""

    function: str
    parameters: Tuple[JobParameter, ...]
    #: Name of `*args`, and whether there is `**kwargs`.
    rest: str
    takes_any_name: bool

    def described(self) -> str:
        """Return the parameters as a person would write them."""
        names = [f"--{item.name}" + (f" {item.kind.upper()}" if item.kind and item.kind != "bool" else "")
                 for item in self.parameters]
        return f"{self.function} takes {', '.join(names) if names else 'no arguments'}"


_KINDS = ("int", "float", "str", "bool", "list", "dict", "tuple")
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list such as [1,2]",
           "dict": "a dict such as {\"a\": 1}", "tuple": "a tuple such as (1,2)"}


def read_signature(function: ast.FunctionDef) -> JobSignature:
    """Read the signature of a function from its syntax tree."""
    spec = function.args
    positional = spec.posonlyargs + spec.args
    defaults: List[Optional[ast.expr]] = [None] * (len(positional) - len(spec.defaults))
    defaults += spec.defaults
    parameters = [
        JobParameter(item.arg, _kind_of_parameter(item, default), default is None, True)
        for item, default in zip(positional, defaults)
    ]
    parameters += [
        JobParameter(item.arg, _kind_of_parameter(item, default), default is None, False)
        for item, default in zip(spec.kwonlyargs, spec.kw_defaults)
    ]
    rest = spec.vararg.arg if spec.vararg else ""
    return JobSignature(function.name, tuple(parameters), rest, spec.kwarg is not None)


def _kind_of_parameter(item: ast.arg, default: Optional[ast.expr]) -> str:
    annotation = item.annotation
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        named = annotation.value
    else:
        named = annotation.id if isinstance(annotation, ast.Name) else ""
    if named in _KINDS:
        return named
    try:
        kind = type(ast.literal_eval(default)).__name__ if default is not None else ""
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        kind = ""
    return kind if kind in _KINDS else ""


def match_words(signature: JobSignature, words: List[str]) -> Dict[str, Any]:
    """Return the arguments that `words` give; raise `TaskRejected` that names the parameters there are."""
    by_name = {item.name: item for item in signature.parameters}
    args: Dict[str, Any] = {}
    loose: List[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            loose += queue
            break
        name, text = _named_word(word, by_name, signature)
        if not name:
            loose.append(word)
            continue
        if text is None:
            text = _following_word(name, by_name.get(name), queue)
        if name in args:
            raise TaskRejected(f"--{name} is given twice")
        args[name] = _typed(name, by_name[name].kind if name in by_name else "", text)
    _place(signature, loose, args)
    missing = [item.name for item in signature.parameters if item.is_required and item.name not in args]
    if missing:
        raise TaskRejected(f"--{missing[0]} is missing; {signature.described()}")
    return args


def _named_word(
    word: str, by_name: Dict[str, JobParameter], signature: JobSignature
) -> Tuple[str, Optional[str]]:
    """Return (name, text) of a word that names its parameter, text None where it follows; ("", None) otherwise."""
    head, equals, tail = word.partition("=")
    is_flag = head.startswith("--") and len(head) > 2
    name = head.lstrip("-").replace("-", "_") if is_flag else head
    if is_flag and not equals and name not in by_name and name.startswith("no_"):
        negated = by_name.get(name[3:])
        if negated is not None and negated.kind == "bool":
            return negated.name, "false"
    if name in by_name or (signature.takes_any_name and name.isidentifier() and (is_flag or equals)):
        return (name, tail if equals else None) if is_flag or equals else ("", None)
    if is_flag:
        raise TaskRejected(f"there is no argument {head}; {signature.described()}")
    return "", None


def _following_word(name: str, parameter: Optional[JobParameter], queue: List[str]) -> str:
    if parameter is not None and parameter.kind == "bool":
        return queue.pop(0) if queue and queue[0].lower() in ("true", "false") else "true"
    if not queue:
        raise TaskRejected(f"--{name} needs a value after it")
    return queue.pop(0)


def _place(signature: JobSignature, loose: List[str], args: Dict[str, Any]) -> None:
    """Give words without a name to the parameters in order."""
    open_places = [item for item in signature.parameters if item.takes_position and item.name not in args]
    if len(loose) > len(open_places):
        if signature.rest:
            raise TaskRejected(f"*{signature.rest} cannot be given on the command line; use a list parameter")
        raise TaskRejected(f"{loose[len(open_places)]!r} is one argument too many; {signature.described()}")
    for item, text in zip(open_places, loose):
        args[item.name] = _typed(item.name, item.kind, text)


def _typed(name: str, kind: str, text: str) -> Any:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return _BOOLEANS[text.lower()]
        if kind in ("list", "dict", "tuple"):
            value = ast.literal_eval(text)
            if type(value).__name__ != kind:
                raise ValueError
            return value
    except (ValueError, KeyError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise TaskRejected(f"--{name} must be {_WANTED[kind]}, not {text!r}") from None
    return text
