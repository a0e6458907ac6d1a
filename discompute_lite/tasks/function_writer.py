"""Take a live function apart into text and data: what it is made of, and how that is put together again.

Knows:   how functions, closures, classes, their instances and what they use become rows and steps of a plan.
Refuses: what cannot be rebuilt elsewhere: `TaskRejected` names the user, the culprit, the file and the line.
Read next: tasks/function_reader.py (the other half), tasks/function_text.py (where text comes from).

A plan is JSON types only. Where it needs an object it has an operand:

    ["value", 3]            the third of its values, which are one tagged JSON text, so that shared ones stay shared
    ["row", 3]              what its third row makes: a function, closure cell, instance, container of such, ...
    ["name", "math", "sqrt"]    what every device has        ["import", "numpy"]    a module that it has
    ["space", 1]            a module of the person's own     ["global", 1, "Point.norm"]    something in one

The first spaces are the modules that were uploaded with it, which are run as a whole by the step ["load", 0].

Functions are made from their code and their live defaults, closures and globals, so decorators have happened
already. Only classes, and what a library's decorator made of a function, are run again as the statements that they
are. Steps say in which order names are bound and statements run.
"""

from __future__ import annotations

import ast
import enum
from collections import deque
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from ..model.limits import SOURCE_BYTES
from .function_objects import (
    BOX_TYPES, SCALAR_TYPES, ObjectWriter, Operand, UsePlace, described_kind, is_typing,
)
from .function_origin import (
    at_path, is_installed_module, is_installed_namespace, is_own_import, package_version, public_name,
)
from .function_spaces import ObjectSpace, SpaceTable, find_definition
from .function_text import (
    CutText, SourceShelf, annotation_names, attribute_chains, code_in_cut, compile_cut, inner_imports, line_of_name,
    names_in_code, oldest_python,
)
from .uploads import UploadBook, UploadedModule
from .value_kinds import kind_of

#: Names of a module that Python itself sets; the other device's module has its own.
_MODULE_NAMES = frozenset(("__name__", "__doc__", "__builtins__", "__package__", "__spec__", "__loader__"))
_BUILTIN_CONSTANTS = {id(Ellipsis): "Ellipsis", id(NotImplemented): "NotImplemented"}


class FunctionWriter(ObjectWriter):
    """Write the plan of one function; used once."""

    def __init__(self, source_of: Optional[Callable[[str], Optional[str]]] = None,
                 uploads: Sequence[UploadedModule] = ()) -> None:
        super().__init__()
        self._texts: List[CutText] = []
        self._steps: List[List[Any]] = []
        self._imports: Dict[str, str] = {}
        self._python = 0
        self._spaces = SpaceTable()
        #: Uploaded modules are the first spaces.
        self._uploads = UploadBook(uploads)
        for module in uploads:
            self._spaces.of(self._uploads.names_of(module))
            self._python = max(self._python, module.python)
        self._shelf = SourceShelf(source_of)
        self._bound: Set[Tuple[int, str]] = set()
        #: Names to bind when all that must come before is there.
        self._late: Deque[Tuple[ObjectSpace, str, UsePlace]] = deque()
        #: The global whose value is being written, for things that do not know their own name.
        self._global: Optional[Tuple[ObjectSpace, str]] = None

    def plan(self, function: Any, place: UsePlace, classes: Iterable[type] = ()) -> Dict[str, Any]:
        """Return the plan as JSON types, with `classes` after the function; raise `TaskRejected`."""
        entry = self.write(function, place)
        self._bind_late()
        for cls in classes:
            self.write(cls, place.named("an argument's class"))
            self._bind_late()
        texts = [cut.text for cut in self._texts] + [module.text for module in self._uploads.modules]
        if sum(map(len, texts)) > SOURCE_BYTES:
            raise place.named("").refused("needs more source text than a task may carry; split it")
        modules = {"modules": self._uploads.rows()} if self._uploads.modules else {}
        return {
            **modules,
            "entry": entry,
            "spaces": self._spaces.labels(),
            "texts": [list(cut) for cut in self._texts],
            "rows": self.rows,
            "steps": self._steps,
            "values": self.encoded_values(),
            "imports": [[name, version] for name, version in sorted(self._imports.items())],
            "python": self._python,
        }

    def write(self, value: Any, place: UsePlace) -> Operand:
        """Return the operand of any object; raise `TaskRejected`."""
        found_as, self._global = self._global, None
        if type(value) in SCALAR_TYPES:
            return self.write_plain(value, place)
        known = self._known.get(id(value))
        if known is None:
            self._kept.append(value)
            known = self._written(value, place, found_as)
            self._known.setdefault(id(value), known)
        return known

    def _written(self, value: Any, place: UsePlace, found_as: Optional[Tuple[ObjectSpace, str]]) -> Operand:
        kind = type(value)
        if kind in BOX_TYPES:
            return self.write_box(value, place)
        if kind_of(value) is not None:
            return self.write_plain(value, place)
        uploaded = self._uploaded(value) if self._uploads.modules else []
        if uploaded:
            return uploaded
        if isinstance(value, ModuleType):
            if is_installed_module(value):
                return self._imported(value.__name__)
            return ["space", self._spaces.of(vars(value)).index]
        if kind is FunctionType:
            return self._function(value, place)
        if isinstance(value, type):
            return self._stated(value, place, found_as)
        if kind is MethodType or (kind is BuiltinFunctionType and not isinstance(value.__self__, ModuleType)):
            return self._method(value, place)
        if isinstance(value, enum.Enum):
            return self.write_member(value, place)
        made = self._constant(value, found_as) or self._public(value) or self.write_made(value, place)
        if made:
            return made
        if is_typing(value) or (callable(value) and self._spaces.home_of(value) is not None):
            return self._stated(value, place, found_as)
        return self.write_instance(value, place)

    # ---- what other devices have ------------------------------------------------------------------

    def _uploaded(self, value: Any) -> Operand:
        """Return the operand of an uploaded module, or of what stands in one under its own name; () for all else."""
        index = self._uploads.module_index(value)
        if index is not None:
            return self._loaded(index, ["space", index])
        place = self._uploads.place_of(value)
        return self._loaded(place[0], ["global", *place]) if place is not None else []

    def _loaded(self, index: int, operand: Operand) -> Operand:
        """Have an uploaded module run before what comes now; return the operand."""
        if ["load", index] not in self._steps:
            self._steps.append(["load", index])
        return operand

    def _is_upload(self, space: ObjectSpace) -> bool:
        return space.index < len(self._uploads.modules)

    def _imported(self, name: str) -> Operand:
        self._imports[name] = package_version(name)
        return ["import", name]

    def _public(self, value: Any) -> Operand:
        if id(value) in _BUILTIN_CONSTANTS:
            return ["name", "builtins", _BUILTIN_CONSTANTS[id(value)]]
        found = public_name(value)
        if found is None:
            return []
        self._imported(found[0])
        return ["name", *found]

    def _constant(self, value: Any, found_as: Optional[Tuple[ObjectSpace, str]]) -> Operand:
        """Return the operand of what a module's `from x import y as name` brought in."""
        if found_as is None:
            return []
        space, name = found_as
        for file in space.files(self._shelf):
            found = file.import_binding(name)
            home = self._spaces.installed(found[0]) if found is not None else None
            if found is not None and home is not None and getattr(home, found[1], None) is value:
                self._imported(found[0])
                return ["name", *found]
        return []

    # ---- functions --------------------------------------------------------------------------------

    def _function(self, function: FunctionType, place: UsePlace) -> Operand:
        public = self._public(function)
        if public:
            return public
        if is_installed_namespace(function.__globals__):
            # A library's decorator made it out of a person's function.
            return self._stated(function, place, None)
        home = self._home_class(function)
        if home is not None:
            cls = self.write(home, place)
            return [*cls[:2], cls[2] + "." + function.__qualname__.partition(".")[2]]
        file, node = self._shelf.find(function)
        space = self._spaces.of(function.__globals__)
        code = function.__code__
        cells = dict(zip(code.co_freevars, function.__closure__ or ()))
        cut = file.cut_function(node, sorted(cells))
        here = UsePlace(function.__qualname__, file.label, code.co_firstlineno)
        row = {"kind": "function", "space": space.index, "text": self._text(cut), "code": code.co_name,
               "name": function.__name__, "qualname": function.__qualname__}
        operand = self.add_row(function, row, lambda row: None)
        self._modules_in_cells(cells, here, node)
        row["cells"] = {name: self._cell(cell, _used_at(here, node, name)) for name, cell in sorted(cells.items())}
        row["defaults"] = self.write_items(function.__defaults__ or (), here.named("its default values"))
        row["keywords"] = self.write_named(function.__kwdefaults__ or {}, here.named("its default values"))
        row["attributes"] = self.write_named(vars(function), here.named("its attributes"))
        if self._is_upload(space):
            # Made by a function of the module, which has all that it uses.
            return self._loaded(space.index, operand)
        self._check_imports(here, node)
        names = names_in_code(code_in_cut(compile_cut(cut, file.label), code.co_name), False)
        self._late.extend(self._uses(space, here, node, [name for name, _ in names]))
        return operand

    def _home_class(self, function: FunctionType) -> Optional[type]:
        """Return the class through which a function is found by its own name, if there is one."""
        root, _, rest = function.__qualname__.partition(".")
        home = function.__globals__.get(root) if rest and "<" not in rest else None
        try:
            return home if isinstance(home, type) and at_path(home, rest) is function else None
        except AttributeError:
            return None

    def _modules_in_cells(self, cells: Dict[str, Any], here: UsePlace, node: Any) -> None:
        for name, cell in sorted(cells.items()):
            content = _content(cell)
            if isinstance(content, ModuleType):
                self._module_uses(content, name, here, node)

    def _cell(self, cell: Any, place: UsePlace) -> Operand:
        known = self._known.get(id(cell))
        if known is not None:
            return known
        return self.add_row(cell, {"kind": "cell"}, lambda row: row.update(
            {} if _content(cell) is cell else {"content": self.write(cell.cell_contents, place)}))

    def _method(self, method: Any, place: UsePlace) -> Operand:
        public = self._public(method)
        if public:
            return public
        owner, name = method.__self__, method.__name__
        if getattr(owner, name, None) == method:
            return self.add_row(method, {"kind": "attribute", "name": name}, lambda row: row.update(
                of=self.write(owner, place.part(".__self__") if place.thing else place.named("its own object"))))
        return self.add_row(method, {"kind": "bound"}, lambda row: row.update(
            function=self.write(method.__func__, place), of=self.write(owner, place)))

    def _text(self, cut: CutText) -> int:
        if cut not in self._texts:
            self._python = max(self._python, oldest_python(cut))
            self._texts.append(cut)
        return self._texts.index(cut)

    # ---- what statements make ---------------------------------------------------------------------

    def _stated(self, value: Any, place: UsePlace, found_as: Optional[Tuple[ObjectSpace, str]]) -> Operand:
        """Return the operand of a class, or of what a library's decorator made: its statement is run again."""
        public = self._public(value)
        if public:
            return public
        if isinstance(getattr(value, "registry", None), MappingProxyType):
            raise place.refused("a single-dispatch function, whose registered functions stand elsewhere; "
                                "choose by isinstance() instead")
        found = self._spaces.home_of(value) or found_as
        if found is None:
            path = str(getattr(value, "__qualname__", ""))
            why = "is made inside a function" if "<locals>" in path else "cannot be found by its name"
            raise place.refused(f"{described_kind(value)}, which {why}; define it at the top level of its file")
        space, name = found
        if self._is_upload(space):
            return self._loaded(space.index, ["global", space.index, name])
        root, dot, _ = name.partition(".")
        if dot:
            # A class inside another comes along with it.
            outer = self.write(space.names[root], place)
            return [*outer[:2], outer[2] + name[len(root):]]
        operand = self._known[id(value)] = ["global", space.index, name]
        file, node = find_definition(self._shelf, space, name, value)
        is_call_again = isinstance(node, (ast.Assign, ast.AnnAssign)) and not isinstance(value, type)
        if file is None or node is None or (is_call_again and not is_typing(value)):
            raise place.refused(f"{described_kind(value)}, whose source text is not found or is no longer what is "
                                "loaded; put it into a file and import it afresh")
        self._statement(space, name, file.cut_statement(node), node)
        if isinstance(value, type) and not isinstance(value, enum.EnumMeta):
            self._class_changes(value, operand, UsePlace(name, file.label, node.lineno))
        return operand

    def _statement(self, space: ObjectSpace, name: str, cut: CutText, node: Any) -> None:
        here = UsePlace(name, cut.file, cut.line + cut.head)
        self._check_imports(here, node)
        used = [each for each in names_in_code(compile_cut(cut, cut.file), True) if each[0] != name]
        for each in self._uses(space, here, node, [each for each, is_eager in used if is_eager]):
            self._bind(*each)
        for each in self._uses(space, here, node, annotation_names(node)):
            value = each[0].names[each[1]]
            public = self._constant(value, each[:2]) or self._public(value)
            if public and (each[0].index, each[1]) not in self._bound:
                # Data classes look for ClassVar and InitVar; a type that cannot travel is not missed.
                self._steps.append(["bind", each[0].index, each[1], public])
        # Decorators and base classes run code at once, so what they use must be there before.
        self._bind_late()
        self._bound.add((space.index, name))
        self._steps.append(["run", space.index, self._text(cut)])
        self._late.extend(self._uses(space, here, node, [each for each, is_eager in used if not is_eager]))

    def _class_changes(self, cls: type, operand: Operand, here: UsePlace) -> None:
        """Set what the class holds now: `Config.rate = 2` may have come long after its statement."""
        for name, value in vars(cls).items():
            if name.startswith("__") and name.endswith("__"):
                continue
            is_plain = type(value) in SCALAR_TYPES or (type(value) in BOX_TYPES and self.is_data(value))
            is_added = type(value) is FunctionType and not value.__qualname__.startswith(cls.__qualname__ + ".")
            if is_plain or (is_added and not is_installed_namespace(value.__globals__)):
                place = here.named(f"{cls.__name__}.{name}")
                self._steps.append(["set", operand, name, self.write(value, place)])

    # ---- names --------------------------------------------------------------------------------------

    def _check_imports(self, here: UsePlace, node: Any) -> None:
        for name, line in inner_imports(node):
            if name.startswith(".") or (is_own_import(name) and not self._uploads.has_import(name)):
                raise here._replace(line=line).refused(
                    f"imports {name} inside itself, which other devices do not have; import it at the top of its "
                    "file, or send the module with upload=[...]")

    def _uses(self, space: ObjectSpace, here: UsePlace, node: Any, names: List[str]
              ) -> List[Tuple[ObjectSpace, str, UsePlace]]:
        """Return what is to be bound of the global names that `node` uses; others are built in, or missing here too."""
        found = []
        for name in dict.fromkeys(names):
            if name in space.names and name not in _MODULE_NAMES:
                if isinstance(space.names[name], ModuleType):
                    self._module_uses(space.names[name], name, here, node)
                found.append((space, name, _used_at(here, node, name)))
        return found

    def _bind_late(self) -> None:
        while self._late:
            self._bind(*self._late.popleft())

    def _bind(self, space: ObjectSpace, name: str, place: UsePlace) -> None:
        if (space.index, name) in self._bound:
            return
        if name == "__file__":
            raise place.refused("the place of a file that other devices do not have; pass the data instead")
        self._bound.add((space.index, name))
        value = space.names[name]
        step: List[Any] = ["bind", space.index, name, []]
        # A register of classes, in which their decorators write, must be there before they are.
        is_early = type(value) in (list, dict, set)
        if is_early:
            self._steps.append(step)
        self._global = space, name
        step[3] = self.write(value, place)
        if not is_early and step[3] != ["global", space.index, name]:
            self._steps.append(step)

    def _module_uses(self, module: ModuleType, name: str, here: UsePlace, node: Any) -> None:
        """Collect what a function takes out of a module that it has by name."""
        for chain, line in attribute_chains(node, name):
            place = here._replace(line=line, thing=".".join([name, *chain]))
            inner: Any = module
            for step in chain:
                inner = self._module_step(inner, step, place)
                if not isinstance(inner, ModuleType):
                    break
            is_own = isinstance(inner, ModuleType) and not is_installed_module(inner)
            if is_own and self._uploads.module_index(inner) is None:
                raise place.refused("a whole module of your own; name what you take from it, as in module.function")

    def _module_step(self, module: ModuleType, step: str, place: UsePlace) -> Any:
        if self._uploads.module_index(module) is not None:
            below = getattr(module, step, None)
            index = self._uploads.module_index(below)
            return below if index is None else self._loaded(index, [below])[0]
        if is_installed_module(module):
            below = getattr(module, step, None)
            if isinstance(below, ModuleType) and below.__name__ == f"{module.__name__}.{step}":
                self._imported(below.__name__)
            return below
        if step not in vars(module):
            raise place.refused(f"which the module {module.__name__} does not have now")
        self._late.append((self._spaces.of(vars(module)), step, place))
        return vars(module)[step]


def _content(cell: Any) -> Any:
    """Return what a closure cell holds; the cell itself where it holds nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell


def _used_at(here: UsePlace, node: Any, name: str) -> UsePlace:
    return here._replace(line=line_of_name(node, name) or here.line, thing=name)
