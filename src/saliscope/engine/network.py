"""A private, runnable copy of a network that any number of threads may capture from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from saliscope.engine.attention import AttentionTap
from saliscope.engine.blocks import Blocks
from saliscope.engine.capture import PIXELS, Capture, Recorder, closed_form, recorded
from saliscope.engine.exits import Exits
from saliscope.engine.footprint import Footprint, Living
from saliscope.engine.grid import first_tensor
from saliscope.engine.inputs import (
    batch_size,
    call,
    device_of,
    picture,
    private_inputs,
    signal,
    with_picture,
)
from saliscope.engine.rest import Answer, Replacement
from saliscope.engine.space import is_spatial, prefix_tokens, space_of
from saliscope.engine.survey import Survey
from saliscope.engine.tally import count_passes, uncounted
from saliscope.errors import LayerError, ModelError

__all__ = ["Network", "Rules"]

T = TypeVar("T")
_TRIED = 2  # images in the pass that is measured; of one, some networks drop the axis

Rules = Callable[[], AbstractContextManager[object]]
"""Opens a context in which the functions a network calls do something else than usual; for the calling thread only."""


class Network:
    """Runs captures on a module that belongs to it alone (see `shadow`).

    `read` takes the logits (B, N) out of the module's output. With a `survey`, a capture at the layers of a pooling +
    linear `head` needs no backward pass; where there is none, `no_head` says what was found. `dtype` is the precision
    inputs are cast to, None for the one they come in. `long_lived` networks learn from one pass for the next. `colours`,
    where known, are black and white as the network is given them: a value for each channel.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        read: Callable[[Any], Tensor],
        survey: Survey | None = None,
        dtype: torch.dtype | None = None,
        channels_last: bool = False,
        long_lived: bool = False,
    ) -> None:
        self.module = module
        self.head = survey.head if survey is not None else None
        self.no_head = survey.no_head if survey is not None else "nobody looked how it ends"
        self._read = read
        self.dtype = dtype
        self.channels_last = channels_last
        self.colours: tuple[Sequence[float], Sequence[float]] | None = None
        self._recording = threading.local()
        self._listening: set[str] = set()
        self._prefix: frozenset[int] | None = None
        self._learns = long_lived
        self._in_place: frozenset[str] = (
            frozenset()
        )  # layers found to be followed by an operation in place
        self._found: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def capture(
        self,
        inputs: Any,
        layers: Sequence[str],
        *,
        gradients: bool | Collection[str] = True,
        of_logits: bool = False,
        curvature: bool = False,
        rules: Rules | None = None,
    ) -> Capture:
        """Run one forward pass and record `layers` (names of modules, and `PIXELS` for the picture itself).

        `inputs` is a tensor, or a tuple or dict of arguments; it is copied, never changed. With `gradients` false the
        capture cannot be differentiated and costs a plain forward pass; a collection names those of the layers that will be.
        `of_logits` promises that only functions of
        `Capture.logits` will be differentiated, which a pooling + linear head answers without a backward pass; not where
        `curvature` will be asked, which needs a graph. `rules` opens a context around the forward pass, in which functions may be given another
        backward rule. Works inside `no_grad` and `inference_mode`, and leaves the thread's grad mode as it was. Raises `LayerError` for
        layers that never run, run twice, or return no grid.
        """
        self._listen(layers)
        leaves = frozenset(layers if gradients is True else gradients or ())
        head = self.head if of_logits and leaves and not curvature and rules is None else None
        if head is not None and not leaves <= set(head.layers):
            head = None
        wanted = gradients if isinstance(gradients, bool) else bool(leaves)  # rules may make leaves
        graph = wanted and head is None
        if curvature and rules is None:  # fused attention can be differentiated once only
            rules = partial(AttentionTap, gradients=False)
        with torch.inference_mode(mode=False), torch.set_grad_enabled(graph):
            ready = private_inputs(inputs, dtype=self.dtype, channels_last=self.channels_last)
            leaves = leaves if graph else frozenset()
            recorder, output = self._record(ready, frozenset(layers), leaves, rules or nullcontext)
            logits = self._logits(output, ready, needed=of_logits)
            if head is not None:
                return closed_form(recorder, ready, output, logits, layers, head)
            return recorded(recorder, ready, output, logits, layers)

    def replaced(self, inputs: Any, layer: str, grids: Tensor) -> Answer:
        """Run without a graph, with `grids` (n, C, h, w) in place of what `layer` returns; the network may change them.

        `inputs` hold one image, or n. Raises `LayerError` for a layer that never runs, runs twice, or returns no grid,
        and whatever the network does where it cannot go on with n images behind the layer and one before it.
        """
        self._listen([layer])
        with torch.inference_mode(mode=False), torch.no_grad():
            ready = private_inputs(inputs, dtype=self.dtype, channels_last=self.channels_last)
            space = space_of(ready, self._prefix or frozenset())
            replacement = Replacement(layer, grids, space)
            self._recording.now = replacement
            try:
                with self._own_precision(ready):
                    output = call(self.module, ready)
            finally:
                self._recording.now = None
            if not replacement.used:
                raise LayerError(
                    f'layer "{layer}" never ran in this pass; choose one that `saliscope layers` lists'
                )
            count_passes(forward=len(grids))
            return Answer(output, self._logits(output, ready, needed=False))

    def exited(
        self,
        inputs: Any,
        blocks: Blocks,
        chosen: Collection[int],
        *,
        mean: bool,
        rules: Rules = nullcontext,
    ) -> Answer:
        """Run with a graph, with the tokens of the `chosen` blocks (by number) in place of the last one's (see `Exits`).

        The output and the logits are those of chosen x B images, block by block. `rules` as in `capture`. Raises
        `ModelError` where other blocks run than `blocks` names, and whatever the network does where it cannot go on with
        more images behind its blocks than before.
        """
        self._listen(blocks.names)
        with torch.inference_mode(mode=False), torch.enable_grad():
            ready = private_inputs(inputs, dtype=self.dtype, channels_last=self.channels_last)
            exits = Exits(blocks, chosen, space_of(ready, self._prefix or frozenset()), mean=mean)
            self._recording.now = exits
            try:
                with self._own_precision(ready), rules():
                    output = call(self.module, ready)
            finally:
                self._recording.now = None
            if tuple(exits.ran) != blocks.names:
                raise ModelError(
                    f"this network ran the blocks {', '.join(exits.ran) or '(none)'} in this pass and "
                    f"{', '.join(blocks.names)} before: there is no telling which attention belongs to which; ask about "
                    "one image at a time, or use grad-cam"
                )
            images = batch_size(inputs)
            count_passes(forward=images)
            logits = self._logits(output, ready, needed=False)
            if not logits.shape[1]:
                logits = logits.new_empty(len(chosen) * images, 0)
            return Answer(output, logits)

    def footprint(self, inputs: Any) -> Footprint:
        """The bytes that a pass without a graph takes for each image like the first of `inputs`; counted once."""
        own = picture(inputs)
        if own is None:
            raise LayerError(
                "the inputs hold no (B, C, H, W) tensor, whose variants could be asked"
            )

        def measured() -> Footprint:
            rows = torch.zeros(_TRIED, dtype=torch.long)
            few = with_picture(inputs, own[rows.to(own.device)], rows)
            with uncounted(), Living() as living:
                self.capture(few, [], gradients=False)
            found: Footprint = living.footprint(_TRIED)
            return found

        return self.once(("footprint", tuple(own.shape[1:]), own.dtype, own.device), measured)

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """What `find` returns, found once for the life of this copy."""
        if key not in self._found:
            self._found[key] = find()
        found: T = self._found[key]
        return found

    def _record(
        self, inputs: Any, layers: frozenset[str], leaves: frozenset[str], rules: Rules
    ) -> tuple[Recorder, Any]:
        """One forward pass; once more, with copies, where an operation in place follows a layer for the first time.

        Copying every output would cost a few per cent of each pass, and most networks need none: a long-lived network
        learns where. A pass that comes another way is noticed like the first.
        """
        copied = (self._in_place | {PIXELS}) & layers if self._learns else layers
        recorder = Recorder(layers, leaves, copied, space_of(inputs, self._prefix or frozenset()))
        self._recording.now = recorder
        try:
            # A pass that has to be repeated must not have touched the inputs.
            given = inputs if copied == layers else private_inputs(inputs)
            with self._own_precision(inputs), rules():
                output = call(self.module, _recorded_pixels(recorder, given))
            changed = recorder.changed()
        except RuntimeError as err:  # torch refuses to change a leaf in place
            if "in-place operation" not in str(err) or copied == layers:
                raise
            changed = set(layers)
        finally:
            self._recording.now = None
        if not changed:
            count_passes(forward=batch_size(inputs))  # not of the pass that had to be repeated
            return recorder, output
        self._in_place |= changed
        return self._record(inputs, layers, leaves, rules)

    def _own_precision(self, inputs: Any) -> AbstractContextManager[object]:
        """A copy made in one precision keeps it; one that takes inputs as they come also takes the caller's autocast."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(device_of(inputs).type, enabled=False)

    def _logits(self, output: Any, inputs: Any, *, needed: bool) -> Tensor:
        """The logits (B, N); (B, 0) where there are none and only `Capture.output` will be asked."""
        try:
            return self._read(output)
        except ModelError:
            if needed:
                raise
            return torch.empty(batch_size(inputs), 0)

    def _listen(self, layers: Sequence[str]) -> None:
        """Attach a hook to each layer, once for the life of this copy; it is silent unless its thread records.

        Convolutions and poolings are listened to as well: the grids they return are those that tokens stand for.
        """
        if self._prefix is not None and self._listening.issuperset(set(layers) - {PIXELS}):
            return
        with self._lock:
            if self._prefix is None:
                for part in filter(is_spatial, self.module.modules()):
                    part.register_forward_hook(self._watch())
                self._prefix = prefix_tokens(self.module)
            for name in layers:
                if name not in self._listening and name != PIXELS:
                    self.module.get_submodule(name).register_forward_hook(self._hook(name))
                    self._listening.add(name)

    def _watch(self) -> Callable[[nn.Module, Any, Any], None]:
        """A function, no method: who copies the module does not copy this network along."""

        def hook(module: nn.Module, given: Any, output: Any) -> None:  # noqa: ARG001 - torch calls it with three
            recorder: Recorder | Replacement | Exits | None = getattr(self._recording, "now", None)
            if recorder is not None:
                recorder.space.see(first_tensor(output))

        return hook

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, given: Any, output: Any) -> Any:  # noqa: ARG001 - torch calls it with three
            recorder: Recorder | Replacement | Exits | None = getattr(self._recording, "now", None)
            if recorder is None or name not in recorder.wanted:
                return None
            return recorder(name, output)

        return hook


def _recorded_pixels(recorder: Recorder, inputs: Any) -> Any:
    """The inputs, with the picture recorded like the output of a layer where it is wanted."""
    if PIXELS not in recorder.wanted:
        return inputs
    found = signal(inputs)
    if found is None:
        raise LayerError(
            "this method looks at the picture itself; the inputs hold no (B, C, H, W) tensor, signal or volume"
        )
    return with_picture(inputs, recorder(PIXELS, found))
