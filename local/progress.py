"""What a person sees while ``boxoffice up`` works: which step, how far, how long.

Belongs here: showing progress, on a terminal as a bar, elsewhere as plain lines. Does not belong
here: the work.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_INTERVAL_SECONDS = 5.0


class Step:
    """One step being worked on."""

    def __init__(self, title: str, console: Console, bar: tuple[Progress, TaskID] | None) -> None:
        """Start the clock."""
        self.title = title
        self.detail = ""
        self.started = time.monotonic()
        self._console = console
        self._bar = bar
        self._next_line = self.started + _PLAIN_INTERVAL_SECONDS

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.started

    def progress(self, what: str, share: float | None) -> None:
        """Show what it does now and which share (0 to 1) is done; None: not known."""
        if self._bar is not None:
            progress, task = self._bar
            total = None if share is None else 1.0
            progress.update(
                task, description=f"{self.title}: {what}", completed=share or 0.0, total=total
            )
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _PLAIN_INTERVAL_SECONDS
            done = "" if share is None else f", {share:.0%}"
            self._console.print(f"{self.title}: {what}{done}, {self.seconds:.0f} s")

    def say(self, message: str) -> None:
        """Print a line that stays, above the bar."""
        self._console.print(f"  {message}", style="yellow")


class Reporter:
    """Prints steps as they begin, go on and end."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to standard output unless told otherwise."""
        self.console = console or Console(highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs, then that it is done and how long it took."""
        if self.console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as progress:
                step = Step(title, self.console, (progress, progress.add_task(title, total=None)))
                yield step
        else:
            self.console.print(f"{title} ...")
            step = Step(title, self.console, None)
            yield step
        detail = f" {step.detail}" if step.detail else ""
        self.console.print(f"[green]✓[/green] {title}{detail} [dim]({step.seconds:.1f} s)[/dim]")

    def say(self, message: str, style: str | None = None) -> None:
        """Print a line."""
        self.console.print(message, style=style, markup=False)

    def table(self, rows: list[tuple[str, str]]) -> None:
        """Print names and values in two columns."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.console.print(f"  {name:<{width}}  {value}", markup=False)
