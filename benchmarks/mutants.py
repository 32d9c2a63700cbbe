"""Small changes of a module, of the kinds that a mistake would make; `mutation.py` tries whether tests notice them.

Changed are comparisons, arithmetic, `and`, `or`, `not`, `-`, numbers, truth values and texts, conditions and what is returned;
statements, keyword arguments and decorators are left out. Left as they are: annotations, docstrings, `__all__`, imports, and
texts with values in them, which are messages.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}  # fmt: skip
SHOWN = 60


@dataclass
class Mutant:
    """One change.

    Args:
        line: where it is.
        lines: lines of the statement that it is in, without the statements within that.
        change: what is changed, before and after.
        number: which of several that read the same on their line.
        apply: makes the change in the tree.
    """

    line: int
    lines: range
    change: str
    apply: Callable[[], None]
    number: int = 1

    @property
    def name(self) -> str:
        """Text that names it within its module."""
        return f"{self.line} {self.change}" + (f" (number {self.number})" if self.number > 1 else "")


def mutants_of(tree: ast.Module) -> list[Mutant]:
    """All mutants of a module."""
    found: list[Mutant] = []
    seen: dict[str, int] = {}
    for statement in statements_of(tree):
        for node, change, apply in changes_of(statement):
            mutant = Mutant(getattr(node, "lineno", statement.lineno), header(statement), change, apply)
            mutant.number = seen[mutant.name] = seen.get(mutant.name, 0) + 1
            found.append(mutant)
    return found


def statements_of(tree: ast.AST) -> Iterator[ast.stmt]:
    """All statements but imports, docstrings and what is for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Import | ast.ImportFrom):
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            value = getattr(node, "value", None)
            is_text = isinstance(node, ast.Expr) and isinstance(value, ast.Constant)
            is_typing = isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("TypeVar", "ParamSpec")
            if not is_text and not is_typing and getattr(target, "id", "") != "__all__":
                yield node


def header(statement: ast.stmt) -> range:
    """Lines of a statement, without those of the statements within it."""
    first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else (statement.end_lineno or first)
    return range(first, max(last, first) + 1)


def expressions_of(node: ast.AST) -> Iterator[ast.AST]:
    """The expressions of a statement, without those of the statements within it, without annotations and formatted texts."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.stmt | ast.JoinedStr):
                yield child
                yield from expressions_of(child)


def changes_of(statement: ast.stmt) -> Iterator[tuple[ast.AST, str, Callable[[], None]]]:
    """Changes of a statement and its expressions: where, what, and a function that makes it."""
    if (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)) or isinstance(
        statement, ast.Raise | ast.AugAssign | ast.Continue | ast.Break | ast.Assert
    ):
        yield statement, f"{shown(statement)} → left out", become(statement, ast.parse("pass").body[0])
    if isinstance(statement, ast.Return) and statement.value is not None and not is_none(statement.value):
        yield statement, f"{shown(statement)} → return None", put(statement, "value", ast.Constant(None))
    for decorator in getattr(statement, "decorator_list", []):
        if shown(decorator) not in ("property", "abstractmethod", "staticmethod", "classmethod") and "dataclass" not in shown(
            decorator
        ):
            yield decorator, f"@{shown(decorator)} → left out", without(statement, "decorator_list", decorator)
    for node in [statement, *expressions_of(statement)]:
        yield from ((node, *change) for change in changes_of_node(node))


def changes_of_node(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """Changes of one node."""
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield f"if {shown(node.test)} → if not", put(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.comprehension):
        for place, test in enumerate(node.ifs):
            tests = [*node.ifs[:place], ast.UnaryOp(ast.Not(), test), *node.ifs[place + 1 :]]
            yield f"if {shown(test)} → if not", put(node, "ifs", tests)
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = COMPARED[type(operator)]()
            yield replaced(node, "ops", [*node.ops[:place], other, *node.ops[place + 1 :]])
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COMPUTED:
        yield replaced(node, "op", COMPUTED[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        yield replaced(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield f"{shown(node)} → {shown(node.operand)}", become(node, node.operand)
    if isinstance(node, ast.Constant) and (other := changed(node.value)) is not None:
        yield f"{shown(node)} → {other!r}", put(node, "value", other)
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg is not None:
                yield f"{shown(node.func)}(…, {shown(keyword)}) → left out", without(node, "keywords", keyword)


def changed(value: Any) -> Any:
    """Another constant of the same type; None if there is none to try."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 2 * value if value and value not in (float("inf"), -float("inf")) else 1.0
    return "XX" + value if isinstance(value, str) else None


def shown(node: ast.AST) -> str:
    """Code of a node in one line, cut where it is long."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def is_none(node: ast.AST) -> bool:
    """Whether an expression is None."""
    return isinstance(node, ast.Constant) and node.value is None


def put(node: ast.AST, name: str, value: Any) -> Callable[[], None]:
    """A function that sets a field of a node."""
    return lambda: setattr(node, name, value)


def without(node: ast.AST, name: str, element: ast.AST) -> Callable[[], None]:
    """A function that takes an element from a field of a node."""
    return lambda: setattr(node, name, [each for each in getattr(node, name) if each is not element])


def become(node: ast.AST, other: ast.AST) -> Callable[[], None]:
    """A function that turns a node into another in its place."""

    def apply() -> None:
        fields = {**other.__dict__}
        node.__class__ = other.__class__  # type: ignore[assignment]
        node.__dict__.clear()
        node.__dict__.update(fields)

    return apply


def replaced(node: ast.AST, name: str, value: Any) -> tuple[str, Callable[[], None]]:
    """What a node reads with another field, and a function that sets it."""
    before, kept = shown(node), getattr(node, name)
    setattr(node, name, value)
    after = shown(node)
    setattr(node, name, kept)
    if before == after or len(before) == SHOWN:  # the change lies behind the cut
        after = type(value[0] if isinstance(value, list) else value).__name__
    return f"{before} → {after}", put(node, name, value)
