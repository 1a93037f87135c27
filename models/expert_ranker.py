"""The mixture of experts as a ranker: a few networks that differ in their seed, calibrated, on disk as safetensors."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load, save

from .expert_training import expert_logits, expert_shares, train_experts
from .experts import Experts, ExpertShape
from .options import RankerOptions
from .ranker import Ranker, RankerRows, fitted, read_stored

_WEIGHTS = "experts.safetensors"


@dataclass(frozen=True, eq=False, kw_only=True)
class ExpertRanker(Ranker):
    """``nets``: the networks whose logits are averaged."""

    kind = "experts"
    nets: tuple[Experts, ...]

    def logits(self, values: np.ndarray) -> np.ndarray:
        """float64[n, heads] of float32[n, features]."""
        return np.mean([expert_logits(net, values).astype(np.float64) for net in self.nets], 0)

    def shares(self, values: np.ndarray) -> np.ndarray:
        """float64[nets, heads, experts]: mean gates on these rows; over the experts they sum to 1."""
        return np.stack([expert_shares(net, values) for net in self.nets])

    def save(self, folder: Path) -> None:
        """Write the weights and the header."""
        weights = {
            f"{place}.{name}": value.contiguous()
            for place, net in enumerate(self.nets)
            for name, value in net.state_dict().items()
        }
        self._save(folder, {_WEIGHTS: save(weights)}, {"nets": len(self.nets), "shape": asdict(self.nets[0].shape)})

    @classmethod
    def load(cls, folder: Path) -> "ExpertRanker":
        """Read what ``save`` wrote; runs no code from the files. Raises OSError, ValueError when they are damaged."""
        stored = read_stored(folder, cls.kind)
        try:
            weights = load(stored.files[_WEIGHTS])
            shape = ExpertShape(**stored.about["shape"])
            nets = []
            for place in range(stored.about["nets"]):
                net = Experts(shape)
                start = f"{place}."
                net.load_state_dict(
                    {name.removeprefix(start): v for name, v in weights.items() if name.startswith(start)}
                )
                net.requires_grad_(False)
                nets.append(net.eval())
        except Exception as error:  # the library's own error class is not exported
            reason = " ".join(str(error).split())
            raise ValueError(f"{folder / _WEIGHTS} does not hold the weights of the experts: {reason}") from None
        return cls(**stored.common, nets=tuple(nets))


def fit_experts(rows: RankerRows, options: RankerOptions, seed: int) -> tuple[ExpertRanker, np.ndarray]:
    """Fit on one thread; as `fit_cross`, with the number of epochs in place of that of trees."""
    values, held = rows.features.values, rows.held_out
    late = (values[held], rows.outcomes[held])
    nets, logits = [], []
    for bag in range(options.bags):
        number = (seed * 1009 + bag) % 2**31
        first, epochs = train_experts(values[~held], rows.outcomes[~held], options, number, late)
        logits.append(expert_logits(first, values[held]).astype(np.float64))
        nets.append(train_experts(values, rows.outcomes, options, number, epochs=epochs)[0])
    found = np.mean(logits, 0)
    ranker = ExpertRanker(
        **fitted(rows, options.model_dump(mode="json"), found),
        nets=tuple(nets),
    )
    return ranker, found
