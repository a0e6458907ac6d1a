"""Run code that a person sends: job files with `split`, `work` and `merge`, and single functions.

Knows:   how a job's source is checked without running it, carried with every subtask, and turned into a module
         whose tracebacks show its lines.
Refuses: to judge what the code does. It is run only where tasks/work.py calls, after policy said yes.
Read next: tasks/job_arguments.py (command line words), tasks/work.py (who calls).

    def split(bound: int = 1000): ...   # -> the parts; without it, `work` is called once with the arguments
    def work(part): ...                 # needed: runs on some device
    def merge(parts): ...               # takes the list of results, where the job was submitted; without it, that list
    pure = False                        # two devices must not do one part at the same time; without it, they may

A subtask carries {source, sha256, name} and either {part} or, of a job without `split`, {args}.
"""

from __future__ import annotations

import ast
import codecs
import hashlib
import linecache
import re
import sys
from types import ModuleType
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ..model.errors import TaskRejected
from ..model.limits import SOURCE_BYTES
from .job_arguments import JobSignature, match_words, read_signature
from .class_book import ClassBook
from .types import TASK_TYPES, TaskParameter, TaskType, read_params
from .values import decode_value, dump_value, load_value, parse_plain

#: Modules of jobs kept loaded in one process; a process serves few jobs, and a thread executor must not grow.
JOB_MODULES_KEPT = 16
#: A line that says in which coding a source is (PEP 263); it is one of the first two.
_CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_MODULE_PREFIX = "discompute_job_"
_READY = "__discompute_ready__"


class JobOutline(NamedTuple):
    """Say what a job's source offers, as far as it can be seen without running it."""

    #: Names bound at its top level.
    names: List[str]
    #: The signature of `split`, or of `work` where there is no `split`; None where either is not a plain `def`.
    signature: Optional[JobSignature]
    #: What it says of `pure`; None where it says nothing.
    pure: Optional[bool] = None


def parse_job(source: str, filename: str = "job.py") -> JobOutline:
    """Check a job's source without running it; raise `TaskRejected` that says where and what is wrong."""
    tree = parse_source(source, filename)
    bound = _bound_names(tree.body)
    if "work" not in bound:
        raise TaskRejected(f"{filename} has no function work(part); a job needs one, and may have split and merge")
    for name in ("split", "work", "merge"):
        if isinstance(bound.get(name), ast.AsyncFunctionDef):
            raise TaskRejected(f"{filename}: {name} is async; a job's functions are plain ones")
    taker = bound.get("split", bound["work"])
    signature = read_signature(taker) if isinstance(taker, ast.FunctionDef) else None
    return JobOutline(list(bound), signature, _purity_in(tree.body, bound.get("pure"), filename))


def read_purity(source: str, filename: str) -> Optional[bool]:
    """Return what any file of a person's says of `pure`, without running it, None where it says nothing."""
    body = parse_source(source, filename).body
    return _purity_in(body, _bound_names(body).get("pure"), filename)


def _purity_in(body: List[ast.stmt], node: Optional[ast.stmt], filename: str) -> Optional[bool]:
    """Return what a job says of `pure`; what is no plain True or False is refused, since it cannot be known unrun."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return None  # A function of that name, say, has nothing to do with it.
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    value = node.value.value if isinstance(node.value, ast.Constant) else None
    if type(value) is bool and node in body and all(isinstance(target, ast.Name) for target in targets):
        return value
    raise TaskRejected(
        f"{filename}, line {node.lineno}: pure says whether two devices may do one part at the same time; write"
        " pure = True or pure = False, outside of all blocks, or give the variable another name")


def job_arguments(source: str, argv: List[str], filename: str = "job.py") -> Dict[str, Any]:
    """Return the arguments that command line words give to a job; raise `TaskRejected` that names its parameters.

    They go to `split`, and where there is none to `work`, whose part may be left out there.
    """
    signature = parse_job(source, filename).signature
    if signature is None:
        if argv:
            raise TaskRejected(f"{filename}: split is not a plain function, so its arguments are not known")
        return {}
    return match_words(signature, argv)


def job_task_data(source: str, name: str, args: Dict[str, Any]) -> bytes:
    """Return the task data of a job."""
    return dump_value(
        {"source": source, "args": args, "sha256": source_hash(source), "name": name}, "the arguments")


def source_hash(source: str) -> str:
    """Return the SHA-256 of a source's UTF-8 text, in hexadecimal."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def checked_hash(source: str, sha256: str, name: str) -> str:
    """Return the hash of `source`; raise `TaskRejected` where `sha256` says otherwise ("" says nothing)."""
    actual = source_hash(source)
    if sha256 and sha256 != actual:
        raise TaskRejected(f"the source of {_file_label(name)} does not match its sha256; submit it again")
    return actual


def parse_source(source: str, filename: str) -> ast.Module:
    """Parse Python source; raise `TaskRejected` naming file, line and trouble."""
    if len(source) > SOURCE_BYTES or len(source.encode("utf-8", "surrogatepass")) > SOURCE_BYTES:
        raise TaskRejected(f"{filename} is longer than {SOURCE_BYTES} bytes; read large data at run time instead")
    if "\0" in source:
        raise TaskRejected(f"{filename} holds a NUL byte; it is not Python source")
    _check_coding(source, filename)
    try:
        # The compiler first: it counts how deep it is, which parsing into a tree does not on Python 3.9.
        compile(source, filename, "exec", dont_inherit=True)
        return ast.parse(source, filename)
    except SyntaxError as error:
        raise TaskRejected(f"{filename}, line {error.lineno or 1}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise TaskRejected(f"{filename} is nested too deeply for this Python; split long expressions") from None
    except ValueError as error:
        raise TaskRejected(f"{filename} is not Python source: {error}") from None


def _check_coding(source: str, filename: str) -> None:
    """Raise `TaskRejected` where a source says that it is in another coding than UTF-8, as which it was read.

    To go by the text alone would make other words of the same file than `python3 FILE` does.
    """
    for number, line in enumerate(source.split("\n", 2)[:2], 1):
        said = _CODING.match(line)
        if said is not None:
            try:
                is_ours = codecs.lookup(said.group(1)).name in ("utf-8", "utf-8-sig", "ascii")
            except LookupError:
                is_ours = False
            if not is_ours:
                raise TaskRejected(f"{filename}, line {number}: says that it is in {said.group(1)[:40]}, and is read as"
                                   " UTF-8; save it as UTF-8 and take that line away")
        if line.strip() and not line.lstrip().startswith("#"):
            return


def _bound_names(body: Iterable[ast.stmt]) -> Dict[str, ast.stmt]:
    """Return what a module's top level binds, looking into if, try and with blocks."""
    bound: Dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update({item.asname or item.name.partition(".")[0]: node for item in node.names})
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)]
            bound.update(dict.fromkeys(names, node))
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            blocks = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            blocks += [clause.body for clause in getattr(node, "handlers", [])]
            for block in blocks:
                bound.update(_bound_names(block))
    return bound


# ---- the module of a job ----------------------------------------------------------------------------


def load_job_module(source: str, sha256: str, name: str, owner: str) -> ModuleType:
    """Return the module of a source, running it once in this process for each `owner`.

    Raises `TaskRejected` where the source does not match its hash or is not Python, and whatever the module's
    own code raises.
    """
    if type(source) is not str or type(name) is not str:
        raise TaskRejected("source and name of a job are text")
    actual = checked_hash(source, sha256, name)
    filename = f"<{_file_label(name)} {actual[:8]}>"
    stem = _MODULE_PREFIX + source_hash(f"{owner}\n{name}\n{actual}")[:16]
    for attempt in range(JOB_MODULES_KEPT):
        # Another thread may be running this module's code just now: it gets its copy, this one another.
        module = ModuleType(stem + (f"_{attempt}" if attempt else ""))
        present = sys.modules.setdefault(module.__name__, module)
        if present is not module and hasattr(present, _READY):
            return present
        if present is module:
            break
    _run_module(module, source, name, filename)
    _forget_old_modules(module.__name__)
    return module


def _run_module(module: ModuleType, source: str, name: str, filename: str) -> None:
    try:
        parse_source(source, _file_label(name))
        # Tracebacks find the lines here; a size without a time is never checked against a file.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)
        setattr(module, _READY, filename)
    finally:
        if not hasattr(module, _READY):
            sys.modules.pop(module.__name__, None)


def _forget_old_modules(newest: str) -> None:
    loaded = list(sys.modules.items())
    names = [name for name, module in loaded if name.startswith(_MODULE_PREFIX) and hasattr(module, _READY)]
    for name in names[:-JOB_MODULES_KEPT]:
        module = sys.modules.pop(name, None) if name != newest else None
        if module is not None:
            linecache.cache.pop(getattr(module, _READY), None)


def is_job_filename(filename: str) -> bool:
    """Whether a traceback's file name is that of a job's source; those of Python itself are "<frozen ...>"."""
    return filename.startswith("<") and not filename.startswith("<frozen ")


def _file_label(name: str) -> str:
    """Return a name fit for tracebacks: what others send may hold line breaks and angle brackets."""
    label = name.replace("\\", "/").rpartition("/")[2]
    label = "".join(letter for letter in label if letter.isprintable() and letter not in "<>")
    return label[:80] or "job.py"


def _classes_of(module: ModuleType) -> ClassBook:
    """Return the classes of a job's own values, which are known by the name `job` in each process that runs it."""
    return ClassBook(["job"], [module])


def _function_of(module: ModuleType, name: str, label: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        raise TaskRejected(f"{_file_label(label)} has no function {name[:60]!r}")
    return function


# ---- the two task types -----------------------------------------------------------------------------

_SOURCE = TaskParameter("str", "", "Python source text")
#: What stands between that which all pieces of a job have in common and the part.
_PART = b',"part":'


class JobTask(TaskType):
    """Run a job file: `split(**args)` gives the parts, `work(part)` runs on the devices, `merge(parts)` at the end."""

    name = "job"
    parameters = {
        "source": _SOURCE,
        "args": TaskParameter("dict", {}, "arguments of split, or of work where there is no split"),
        "sha256": TaskParameter("str", "", "of the source's UTF-8 text, in hexadecimal; checked where given"),
        "name": TaskParameter("str", "job.py", "the file's name, for tracebacks"),
    }

    def __init__(self) -> None:
        #: owner -> how the data of its pieces begin (source, hash and name, which were checked, up to the part) and the
        #: module of that, of whoever was read last: it may be long and is the same in each of them.
        self._known: Dict[str, Tuple[bytes, ModuleType]] = {}

    def split_data(self, task_data: bytes, target: int, owner: str) -> Iterator[bytes]:
        """Yield {source, sha256, name, part} for each part; a job without split is one subtask with {args}."""
        params = read_params(self, task_data)
        outline = parse_job(params["source"], _file_label(params["name"]))
        args = _keyword_arguments(params["args"])
        sha256 = checked_hash(params["source"], params["sha256"], params["name"])
        carried = {"source": params["source"], "sha256": sha256, "name": params["name"]}
        if "split" not in outline.names:
            yield dump_value({**carried, "args": args}, "the arguments")
            return
        module = load_job_module(**carried, owner=owner)
        parts = _function_of(module, "split", params["name"])(**args)
        # The source is the same in all of them: its JSON is made once.
        head = dump_value(carried)[:-1] + _PART
        for index, part in enumerate(parts):
            yield head + dump_value(part, f"part {index}", _classes_of(module)) + b"}"

    def run_data(self, subtask_data: bytes, owner: str, allow_pickle: bool = False) -> bytes:
        """Call `work`."""
        head, known = self._known.get(owner, (b"", None))
        if known is not None and subtask_data.startswith(head) and subtask_data.endswith(b"}"):
            classes = _classes_of(known)
            try:
                # Where this alone is JSON, it is the part: nothing else follows the head.
                part = load_value(subtask_data[len(head):-1], classes)
            except TaskRejected:
                pass  # What is wrong with it is found and said below.
            else:
                return dump_value(_function_of(known, "work", "")(part), "the result of work", classes)
        plain = parse_plain(subtask_data)
        if type(plain) is not dict or not ("part" in plain or "args" in plain):
            raise TaskRejected("the data of a job's subtask is {source, sha256, name, part}")
        # The part is a text of its own, whose classes are known when the source has run.
        has_part, part = "part" in plain, plain.pop("part", None)
        given = decode_value(plain)
        name = given.get("name", "job.py")
        module = load_job_module(given.get("source", ""), given.get("sha256", ""), name, owner)
        work = _function_of(module, "work", name)
        classes = _classes_of(module)
        if has_part:
            # Of one only: a process serves one task, and threads that serve two in turns read both as a whole.
            self._known = {owner: (dump_value(given)[:-1] + _PART, module)}
            result = work(decode_value(part, classes))
        else:
            result = work(**_keyword_arguments(given["args"]))
        return dump_value(result, "the result of work", classes)

    def code_in(self, subtask_data: bytes) -> Tuple[str, str]:
        """Return the job's name and source."""
        return code_of_plain(subtask_data)

    def merge_data(self, task_data: bytes, results: Iterable[bytes], owner: str) -> bytes:
        """Call `merge` with the list of results; without it, return that list."""
        params = read_params(self, task_data)
        names = parse_job(params["source"], _file_label(params["name"])).names
        if "merge" not in names:
            # Without split there is one subtask, and its result is the job's.
            parts = [load_value(result) for result in results]
            return dump_value(parts if "split" in names or len(parts) != 1 else parts[0], "the result")
        module = load_job_module(params["source"], params["sha256"], params["name"], owner)
        classes = _classes_of(module)
        parts = [load_value(result, classes) for result in results]
        return dump_value(_function_of(module, "merge", params["name"])(parts), "the result of merge")


class CallTask(TaskType):
    """Call one function once: `name` out of `source`, with `args` and `kwargs`; the result is what it returns."""

    name = "call"
    parameters = {
        "source": _SOURCE,
        "name": TaskParameter("str", "", "the function's name"),
        "args": TaskParameter("any", [], "its arguments, a list or tuple"),
        "kwargs": TaskParameter("dict", {}, "its named arguments"),
    }

    def split_data(self, task_data: bytes, target: int, owner: str) -> Iterator[bytes]:
        """Yield the task data as it is: arrays travel on even through a coordinator without NumPy."""
        params = read_params(self, task_data)
        parse_source(params["source"], "the function's source")
        yield task_data

    def run_data(self, subtask_data: bytes, owner: str, allow_pickle: bool = False) -> bytes:
        """Call the function."""
        params = read_params(self, subtask_data)
        if type(params["args"]) not in (list, tuple):
            raise TaskRejected("args is a list or tuple")
        module = load_job_module(params["source"], "", params["name"] + ".py", owner)
        function = _function_of(module, params["name"], params["name"])
        return dump_value(function(*params["args"], **_keyword_arguments(params["kwargs"])), "the result")

    def code_in(self, subtask_data: bytes) -> Tuple[str, str]:
        """Return the function's name and source."""
        return code_of_plain(subtask_data)

    def merge_data(self, task_data: bytes, results: Iterable[bytes], owner: str) -> bytes:
        """Return the one result as it is."""
        only = list(results)
        if len(only) != 1:
            raise TaskRejected(f"a call has one result, not {len(only)}")
        return only[0]


def code_of_plain(subtask_data: bytes) -> Tuple[str, str]:
    """Return `name` and `source` of a subtask's data, without reading its values; raise `TaskRejected`."""
    plain = parse_plain(subtask_data)
    plain = plain if type(plain) is dict else {}
    return str(plain.get("name", "")), str(plain.get("source", ""))


def _keyword_arguments(args: Any) -> Dict[str, Any]:
    if type(args) is not dict or any(type(key) is not str for key in args):
        raise TaskRejected("arguments are an object: name to value")
    return args


TASK_TYPES.add(JobTask.name, JobTask())
TASK_TYPES.add(CallTask.name, CallTask())
